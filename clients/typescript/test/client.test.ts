import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import {
  Client,
  Closed,
  CredentialInvalid,
  DeadlineExceeded,
  EndpointInvalid,
  Guard,
  NotJeton,
  TokenSource,
  TtlExceedsMaximum,
  Unreachable,
} from "@jeton/client";
import { FakeJeton } from "@jeton/client/testing";
import { KEY, serveFake } from "./fake-server.js";

const ORDERS = { subject: "svc:orders", audiences: ["payments"] };

test("calls go over the wire, and errors come back typed", async () => {
  const fake = new FakeJeton();
  const server = await serveFake(fake);
  const client = new Client({ endpoints: ["http://127.0.0.1:1", server.url], apiKey: KEY });
  const token = await client.issue(ORDERS);
  assert.equal((await client.validate(token.accessToken, { audiences: ["payments"] })).status, "ACTIVE");
  assert.equal((await client.validate("rubbish")).status, "MALFORMED");
  await client.revoke({ token: token.accessToken, reason: "LOGOUT" });
  assert.equal((await client.validate(token.accessToken)).status, "REVOKED");
  fake.answerOnce("TTL_EXCEEDS_MAXIMUM", { maxTtlSeconds: "60" });
  await assert.rejects(client.issue(ORDERS), TtlExceedsMaximum);
  client.close();
  await assert.rejects(client.issue(ORDERS), Closed);
  await server.close();
});

test("by a stream, many calls get the verdicts of their own tokens", async () => {
  const fake = new FakeJeton();
  const server = await serveFake(fake);
  const client = new Client({ endpoints: server.url, apiKey: KEY });
  const guard = new Guard(client, { audiences: ["payments"], mode: "stream" });
  const tokens = await Promise.all(Array.from({ length: 50 }, () => client.issue(ORDERS)));
  const verdicts = await Promise.all(
    Array.from({ length: 500 }, (_, at) => guard.judge(tokens[at % 50]?.accessToken ?? "")),
  );
  assert.ok(verdicts.every((verdict, at) => verdict.jti === tokens[at % 50]?.jti));
  guard.close();
  client.close();
  await server.close();
});

test("nothing is left after close", { timeout: 60_000 }, async () => {
  const fake = new FakeJeton();
  const server = await serveFake(fake);
  const held = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
  while (held() > 0) await turn(); // those of other tests
  const client = new Client({ endpoints: server.url, apiKey: KEY });
  const source = new TokenSource(client, ORDERS);
  const guard = new Guard(client, { mode: "stream" });
  await guard.judge((await source.get()).secret);
  await source.close();
  guard.close();
  assert.equal(held(), 2);
  client.close();
  // The sockets of both ends are closed in later turns of the event loop.
  while (held() > 0) await turn();
  await server.close();
});

test("a wrong endpoint is one typed error", async () => {
  for (const text of [
    "jeton.example",
    "ftp://h",
    "http://u:hidden@h",
    "http://h/x",
    "http://h:0",
    "http://[::g]",
    "http://",
  ]) {
    assert.throws(
      () => new Client({ endpoints: text }),
      (error) => error instanceof EndpointInvalid && !error.message.includes("hidden"),
    );
  }
  assert.throws(() => new Client({ endpoints: "http://jeton.example", apiKey: KEY }), EndpointInvalid);
  assert.throws(() => new Client({ endpoints: "http://[::1]:1", apiKey: "no-key" }), CredentialInvalid);
  assert.throws(() => new Client({ endpoints: "https://h", apiKeyFile: "/absent" }), CredentialInvalid);
  const nobody = new Client({ endpoints: "http://127.0.0.1:1", apiKey: KEY });
  await assert.rejects(
    nobody.issue({ ...ORDERS, deadlineMs: 300 }),
    (error) => error instanceof Unreachable && error.message.includes("127.0.0.1:1"),
  );
  nobody.close();
});

test("a server that speaks no HTTP/2, and one that is silent", async () => {
  const http = createHttpServer((_, response) => response.end());
  const silent = createServer((socket) => socket.on("error", () => undefined).resume());
  for (const server of [http, silent]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = (server: typeof silent) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const foreign = new Client({ endpoints: url(http), apiKey: KEY });
  await assert.rejects(foreign.issue({ ...ORDERS, deadlineMs: 5000 }), NotJeton);
  foreign.close();
  const dead = new Client({ endpoints: url(silent), apiKey: KEY });
  await assert.rejects(dead.issue({ ...ORDERS, deadlineMs: 100 }), DeadlineExceeded);
  dead.close();
  http.closeAllConnections();
  for (const server of [http, silent]) await new Promise((resolve) => server.close(resolve));
});
