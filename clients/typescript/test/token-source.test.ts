import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  Closed,
  CredentialInvalid,
  DeadlineExceeded,
  SessionRevoked,
  type TokenEvent,
  TokenSource,
  Unreachable,
  TtlExceedsMaximum,
  fetchWithToken,
} from "@jeton/client";
import { FakeJeton } from "@jeton/client/testing";
import { clientOver } from "#lib/client.js";

const ORDERS = { subject: "svc:orders", audiences: ["payments"], ttlMs: 60_000 };

/** A client whose calls get no answer any more once it was told so. */
function hanging(fake: FakeJeton) {
  const { transport } = fake.client();
  let hangs = false;
  const client = clientOver({
    ...transport,
    unary: (method, request, options) => {
      if (!hangs) return transport.unary(method, request, options);
      return new Promise((_, reject) => {
        options.signal?.addEventListener("abort", () => reject(options.signal?.reason));
      });
    },
  });
  return {
    client,
    hang: () => {
      hangs = true;
    },
  };
}

test("a token is renewed at the time that the server gives, once for all callers", async () => {
  const fake = new FakeJeton();
  const source = new TokenSource(fake.client(), ORDERS);
  assert.deepEqual(fake.calls, []);
  const tokens = await Promise.all(Array.from({ length: 100 }, () => source.get()));
  assert.equal(new Set(tokens.map((token) => token.jti)).size, 1);
  await fake.advance(47_000);
  assert.deepEqual(fake.calls, ["Issue"]);
  await fake.advance(2_000);
  assert.deepEqual(fake.calls, ["Issue", "Issue"]);
  assert.notEqual((await source.get()).jti, tokens[0]?.jti);
  await source.close();
});

test("a token of a few seconds is renewed before it is told to expire", async () => {
  const fake = new FakeJeton();
  const events: TokenEvent[] = [];
  const onEvent = (event: TokenEvent) => void events.push(event);
  const source = new TokenSource(fake.client(), { ...ORDERS, ttlMs: 5000, onEvent });
  const first = await source.get();
  await fake.advance(2600);
  assert.notEqual((await source.get()).jti, first.jti);
  assert.deepEqual(
    events.map((event) => event.kind),
    ["refreshed", "refreshed"],
  );
  await source.close();
});

test("a failed renewal is shown only when the token has died, and told before", async () => {
  const fake = new FakeJeton();
  const events: TokenEvent[] = [];
  const source = new TokenSource(fake.client(), { ...ORDERS, onEvent: (event) => void events.push(event) });
  const first = await source.get();
  fake.setAway(true);
  await fake.advance(50_000);
  assert.equal((await source.get()).jti, first.jti);
  await fake.advance(4_000);
  assert.deepEqual(
    events.map((event) => event.kind),
    ["refreshed", "will_expire"],
  );
  assert.ok(events[1]?.error instanceof Unreachable);
  await fake.advance(6_000);
  assert.equal(source.current, undefined);
  await assert.rejects(source.get({ deadlineMs: 20 }), Unreachable);
  fake.setAway(false);
  const waiting = source.get();
  await fake.advance(60_000);
  assert.notEqual((await waiting).jti, first.jti);
  await source.close();
});

test("will_expire is told while an attempt hangs", async () => {
  const fake = new FakeJeton();
  const { client, hang } = hanging(fake);
  const events: TokenEvent[] = [];
  const source = new TokenSource(client, { ...ORDERS, onEvent: (event) => void events.push(event) });
  await source.get();
  hang();
  await fake.advance(50_000); // a renewal begins
  await fake.advance(4_000);
  assert.deepEqual(
    events.map((event) => [event.kind, event.error]),
    [
      ["refreshed", undefined],
      ["will_expire", undefined],
    ],
  );
  await fake.advance(6_000);
  await assert.rejects(source.get({ deadlineMs: 20 }), DeadlineExceeded);
  await source.close();
});

test("who waits hears of no error from before the token died", async () => {
  const fake = new FakeJeton();
  const { client, hang } = hanging(fake);
  const source = new TokenSource(client, ORDERS);
  await source.get();
  fake.setAway(true);
  await fake.advance(50_000); // a renewal fails
  hang();
  await fake.advance(10_000); // the next one hangs, and the token dies
  await assert.rejects(source.get({ deadlineMs: 20 }), DeadlineExceeded);
  await source.close();
});

test("a lasting refusal is given at once, typed", async () => {
  const fake = new FakeJeton();
  fake.answerOnce("TTL_EXCEEDS_MAXIMUM", { audience: "payments", requestedTtlSeconds: "90", maxTtlSeconds: "60" });
  const source = new TokenSource(fake.client(), ORDERS);
  await assert.rejects(source.get(), (error) => {
    assert.ok(error instanceof TtlExceedsMaximum);
    assert.equal(error.maxTtl, 60_000);
    assert.equal(error.likelyUnit, undefined);
    return true;
  });
  await source.close();
});

test("a session ends at SESSION_REVOKED, and no call is made any more", async () => {
  const fake = new FakeJeton();
  const events: TokenEvent[] = [];
  const source = new TokenSource(fake.client(), {
    ...ORDERS,
    refreshable: true,
    onEvent: (event) => void events.push(event),
  });
  const { sessionId } = await source.get();
  fake.revokeSession(sessionId);
  await fake.advance(49_000);
  await assert.rejects(source.get(), SessionRevoked);
  await fake.advance(600_000);
  assert.deepEqual(fake.calls, ["Issue", "Refresh"]);
  assert.equal(events.filter((event) => event.kind === "session_ended").length, 1);
  await source.close();
});

test("a refresh token is kept in a file of mode 0600, and removed with its session", async () => {
  const directory = mkdtempSync(join(tmpdir(), "jeton-test-"));
  const file = join(directory, "session");
  const fake = new FakeJeton();
  const options = { ...ORDERS, refreshable: true, refreshTokenFile: file };
  const first = new TokenSource(fake.client(), options);
  const { sessionId } = await first.get();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await first.close();
  const second = new TokenSource(fake.client(), options);
  await second.get();
  assert.deepEqual(fake.calls, ["Issue", "Refresh"]);
  const kept = readFileSync(file, "utf8");
  fake.revokeSession(sessionId);
  await fake.advance(49_000);
  await assert.rejects(second.get(), SessionRevoked);
  await second.close(); // which waits for the removal
  assert.throws(() => statSync(file));
  writeFileSync(file, kept, { mode: 0o644 });
  assert.throws(() => new TokenSource(fake.client(), options), CredentialInvalid);
  rmSync(directory, { recursive: true });
});

test("close gives `Closed` to those that wait", async () => {
  const fake = new FakeJeton();
  fake.setAway(true);
  const source = new TokenSource(fake.client(), ORDERS);
  const waiting = source.get();
  await fake.advance(10);
  await source.close();
  await assert.rejects(waiting, Closed);
  await assert.rejects(source.get(), Closed);
});

test("nothing prints a secret", async () => {
  const fake = new FakeJeton();
  const client = fake.client();
  const issued = await client.issue({ ...ORDERS, refreshable: true });
  const raw = await client.tokens.issue({ subject: "svc:orders", audiences: ["payments"], refreshable: true });
  const source = new TokenSource(client, { ...ORDERS, refreshToken: issued.refresh?.refreshToken });
  const token = await source.get();
  const shown = [issued, raw, source, token, client]
    .flatMap((one) => [inspect(one, { depth: null, showHidden: true }), JSON.stringify(one), String(one), `${one}`])
    .join("\n");
  assert.doesNotMatch(shown, /fake-(token|refresh)-/);
  assert.match(shown, /\[secret\]/);
  assert.match(raw.token?.accessToken ?? "", /^fake-token-/);
  await source.close();
});

test("fetch is repeated once with another token, and not for other refusals", async () => {
  const fake = new FakeJeton();
  const source = new TokenSource(fake.client(), ORDERS);
  const sent: string[] = [];
  const answers = [
    { status: 401, challenge: 'Bearer error="invalid_token", error_description="The token is REVOKED."' },
    { status: 200, challenge: "" },
    { status: 401, challenge: 'Bearer error="invalid_request"' },
  ];
  const fetch = fetchWithToken(source, async (input, init) => {
    sent.push(`${new Headers(init?.headers).get("authorization")} ${await new Request(input, init).text()}`);
    const { status, challenge } = answers[sent.length - 1] ?? { status: 500, challenge: "" };
    return new Response("", { status, headers: { "www-authenticate": challenge } });
  });
  assert.equal((await fetch(new Request("http://x.test/", { method: "POST", body: "hello" }))).status, 200);
  assert.equal(new Set(sent).size, 2);
  assert.ok(sent.every((one) => one.endsWith(" hello")));
  assert.equal((await fetch("http://x.test/")).status, 401);
  assert.equal(sent.length, 3);
  await source.close();
});
