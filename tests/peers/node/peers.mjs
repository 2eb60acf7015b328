// jose, Express and openid-client, as they are, against a jeton: key set, tokens, introspection and revocation.
//
// Run by `scripts/test-node`. Exits with 1 on any surprise.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as oauth from "openid-client";
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, errors, jwtVerify } from "jose";

const dev = JSON.parse(readFileSync(process.env.DEV_JSON, "utf8"));
const { issuer } = dev;
const audience = "orders";
// For whatever must come about: no machine is so slow.
const patienceMs = 60_000;
const directory = mkdtempSync(join(tmpdir(), "jeton-peers-"));

const ok = (what) => console.log(`ok  ${what}`);

/** The command line, as one of the development clients. */
function jeton(client, ...given) {
  const input = typeof given.at(-1) === "object" ? given.pop().input : "";
  const keyFile = join(directory, client);
  writeFileSync(keyFile, dev.clients[client], { mode: 0o600 });
  const env = {
    JETON_ENDPOINT: `http://${dev.public}`,
    JETON_ADMIN_ENDPOINT: `http://${dev.admin}`,
    JETON_API_KEY_FILE: keyFile,
  };
  return execFileSync(process.env.JETON, given, { env, input, encoding: "utf8", timeout: patienceMs }).trim();
}

const issueFor = (audience, ...more) =>
  jeton("dev-service", "issue", "--subject", "user:7", "--audience", audience, "--output", "token", ...more);
const issue = (...more) => issueFor(audience, ...more);
const kid = (token) => decodeProtectedHeader(token).kid;
const rules = { issuer, audience, typ: "at+jwt", algorithms: ["ES256", "EdDSA"] };

async function until(what, holds) {
  const end = Date.now() + patienceMs;
  while (!(await holds())) {
    assert(Date.now() < end, `in time: ${what}`);
    await sleep(100);
  }
}

async function byKeySet(metadata) {
  const keySet = (options) =>
    createRemoteJWKSet(new URL(metadata.jwks_uri), { timeoutDuration: patienceMs, ...options });
  const keys = keySet();
  const verify = (token, keys, changed = {}) => jwtVerify(token, keys, { ...rules, ...changed });
  const refuses = async (code, token, keys, what, changed) => {
    await assert.rejects(verify(token, keys, changed), { code }, what);
    ok(`${what}: ${code}`);
  };
  const first = issue();
  assert.equal((await verify(first, keys)).payload.sub, "user:7");
  ok("jose verifies a token by the key set");
  await refuses(errors.JWTClaimValidationFailed.code, first, keys, "another audience", { audience: "else" });
  await refuses(errors.JWTClaimValidationFailed.code, first, keys, "another issuer", { issuer: "http://else" });
  await refuses(errors.JWTClaimValidationFailed.code, first, keys, "another typ", { typ: "JWT" });
  const [head, body, signature] = first.split(".");
  const flipped = `${head}.${body}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`;
  await refuses(errors.JWSSignatureVerificationFailed.code, flipped, keys, "another signature");
  const short = issue("--ttl", "1s");
  await until("it expires", () => Date.now() / 1000 >= decodeJwt(short).exp);
  await refuses(errors.JWTExpired.code, short, keys, "an expired token");

  // A rotation in good time: who fetches the key set while the next key is published needs no other.
  jeton("dev-admin", "key", "rotate", "--lead", "3s");
  const ahead = keySet({ cooldownDuration: Infinity, cacheMaxAge: Infinity });
  assert.equal((await verify(first, ahead)).payload.sub, "user:7");
  let second = first;
  await until("the published key signs", () => kid((second = issue())) !== kid(first));
  assert.equal((await verify(second, ahead)).payload.sub, "user:7");
  assert.equal((await verify(first, ahead)).payload.sub, "user:7");
  ok("tokens of the next key and of the one before it verify without another fetch");

  // An emergency: nobody could know the key before.
  jeton("dev-admin", "key", "rotate", "--emergency");
  const third = issue();
  assert.equal(new Set([first, second, third].map(kid)).size, 3);
  await refuses(errors.JWKSNoMatchingKey.code, third, ahead, "another key, to whom may not fetch again");
  const eager = keySet({ cooldownDuration: 0 });
  assert.equal((await verify(first, eager)).payload.sub, "user:7");
  assert.equal((await verify(third, eager)).payload.sub, "user:7");
  ok("whoever may fetch again verifies both");

  jeton("dev-admin", "revoke", "--key", kid(first), "--reason", "compromised", "--yes");
  await refuses(errors.JWKSNoMatchingKey.code, first, keySet(), "a token of a revoked key, by a fresh key set");
}

async function byService() {
  Object.assign(process.env, {
    JETON_ISSUER: issuer,
    JETON_CLIENT_ID: "dev-service",
    JETON_API_KEY: dev.clients["dev-service"],
  });
  const { app } = await import("./resource-server.mjs");
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const asked = async (method, token) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const url = `http://127.0.0.1:${server.address().port}/orders`;
    let status;
    // 503: it has not learned in its own two seconds whether the token is good.
    await until("the service decides", async () => (status = (await fetch(url, { method, headers })).status) !== 503);
    return status;
  };
  const both = async (token) => [await asked("GET", token), await asked("DELETE", token)];
  const token = issue();
  assert.deepEqual(await both(token), [200, 200]);
  ok("the Express service takes a token");
  for (const [what, bad] of [["no token"], ["garbage", "x"], ["another audience", issueFor("else")]]) {
    assert.deepEqual(await both(bad), [401, 401], what);
    ok(`${what}: refused by both`);
  }
  jeton("dev-service", "revoke", "-", { input: token });
  assert.equal(await asked("DELETE", token), 401);
  ok("revoked: refused by introspection at once");
  assert.equal(await asked("GET", token), 200);
  ok("and taken by the key set alone until its exp: the lag that is documented");
  server.closeAllConnections();
  server.close();
}

/** Tokens from the token endpoint, by openid-client's own code: it finds the endpoint by RFC 8414. */
async function byOpenidClient() {
  const key = dev.clients["dev-service"];
  for (const [name, method] of [
    ["client_secret_basic", oauth.ClientSecretBasic(key)],
    ["client_secret_post", oauth.ClientSecretPost(key)],
  ]) {
    const execute = [oauth.allowInsecureRequests];
    const options = { algorithm: "oauth2", execute };
    const client = await oauth.discovery(new URL(issuer), "dev-service", undefined, method, options);
    const asked = { audience, refreshable: "true" };
    const first = await oauth.clientCredentialsGrant(client, asked);
    assert.equal(first.expiresIn() <= 900 && first.expiresIn() > 800, true);
    assert.equal(decodeJwt(first.access_token).sub, "dev-service");
    ok(`openid-client obtains a token by ${name}`);
    const next = await oauth.refreshTokenGrant(client, first.refresh_token);
    assert.notEqual(next.access_token, first.access_token);
    ok("openid-client refreshes it");
    await assert.rejects(oauth.refreshTokenGrant(client, "nonsense"), { error: "invalid_grant" });
    ok("what is no refresh token is invalid_grant to it");
    await assert.rejects(oauth.clientCredentialsGrant(client), { error: "invalid_target" });
    ok("a token for nobody is invalid_target to it");
  }
}

function documented(repository) {
  const read = (path) => readFileSync(join(repository, path), "utf8");
  const code = read("clients/node/resource-server.mjs");
  assert(read("docs/verifying.md").includes("```js\n" + code + "```"));
  ok("docs/verifying.md shows the code that was run");
}

try {
  const metadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();
  assert.equal(metadata.issuer, issuer);
  // While no key is revoked yet.
  await byService();
  await byOpenidClient();
  await byKeySet(metadata);
  documented(process.cwd());
  console.log("all as expected");
} finally {
  rmSync(directory, { recursive: true });
}
