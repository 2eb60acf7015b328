import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { Guard, type GuardOptions, Refused } from "@jeton/client";
import { guardMiddleware, verdictOf } from "@jeton/client/http";
import { FakeJeton } from "@jeton/client/testing";

const silent = { warn() {}, error() {} };

async function guarded(fake: FakeJeton, options: GuardOptions, scopes: string[] = []) {
  const guard = new Guard(fake.client({ logger: silent }), { audiences: ["payments"], ...options });
  const middleware = guardMiddleware(guard, { scopes });
  const server = createServer((request, response) =>
    middleware(request, response, () => {
      if (request.url === "/long") response.write("begun\n");
      else response.end(JSON.stringify({ subject: verdictOf(request).subject }));
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const get = (token?: string, path = "/") =>
    fetch(url + path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  const close = async () => {
    guard.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { get, close };
}

const ORDERS = { subject: "svc:orders", audiences: ["payments"], ttlMs: 60_000 };

for (const mode of ["unary", "stream"] as const) {
  test(`good tokens pass, others get what the contract says (${mode})`, async () => {
    const fake = new FakeJeton();
    const good = await fake.client().issue({ ...ORDERS, scopes: ["read"] });
    const bad = await fake.client().issue(ORDERS);
    fake.revokeToken(bad.jti);
    const { get, close } = await guarded(fake, { mode }, ["read"]);
    const passed = await get(good.accessToken.reveal());
    assert.deepEqual([passed.status, await passed.json()], [200, { subject: "svc:orders" }]);

    const none = await get();
    assert.deepEqual([none.status, none.headers.get("www-authenticate")], [401, "Bearer"]);
    const revoked = await get(bad.accessToken.reveal());
    assert.equal(revoked.status, 401);
    assert.match(revoked.headers.get("www-authenticate") ?? "", /^Bearer error="invalid_token", error_description=/);
    assert.equal(((await revoked.json()) as { reason: string }).reason, "REVOKED");
    const narrow = await get((await fake.client().issue(ORDERS)).accessToken.reveal());
    assert.equal(narrow.status, 403);
    assert.match(narrow.headers.get("www-authenticate") ?? "", /insufficient_scope", scope="read"/);

    fake.setAway(true);
    const away = await get(good.accessToken.reveal());
    assert.deepEqual([away.status, away.headers.get("retry-after")], [503, "1"]);
    fake.setAway(false);
    assert.equal((await get(good.accessToken.reveal())).status, 200);
    await close();
  });
}

test("a token that could be no token is not sent", async () => {
  const fake = new FakeJeton();
  const guard = new Guard(fake.client());
  for (const [authorization, reason] of [
    [[], "NO_TOKEN"],
    [["Basic abc"], "NO_TOKEN"],
    [["Bearer"], "NO_TOKEN"],
    [["Bearer   "], "NO_TOKEN"],
    [["Bearer a", "Bearer b"], "NO_TOKEN"],
    [[`Bearer ${"x".repeat(8193)}`], "MALFORMED"],
    [["bearer naïve"], "MALFORMED"],
  ] as const) {
    await assert.rejects(
      guard.admit({ authorization }),
      (error) => error instanceof Refused && error.reason === reason,
    );
  }
  assert.deepEqual(fake.calls, []);
});

test("a long response is cut when its token is revoked", async () => {
  const fake = new FakeJeton();
  const { accessToken, jti } = await fake.client().issue(ORDERS);
  const { get, close } = await guarded(fake, { recheckMs: 30 });
  const response = await get(accessToken.reveal(), "/long");
  assert.equal(response.status, 200);
  fake.revokeToken(jti);
  await assert.rejects(response.text());
  await close();
});

test("a call for which the double was told to be away is judged as nothing", async () => {
  const fake = new FakeJeton();
  const guard = new Guard(fake.client({ logger: silent }), { deadlineMs: 50 });
  fake.answerOnce("CALLER_UNAUTHENTICATED");
  await assert.rejects(guard.judge("fake"), (error) => error instanceof Refused && error.code === "UNAVAILABLE");
});
