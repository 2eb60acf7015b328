// A service that takes jeton's tokens, on Express: by introspection, and by the key set alone.
import express from "express";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const issuer = process.env.JETON_ISSUER;
const audience = "orders";
// The service as a client of jeton: needs PERMISSION_VALIDATE and the audience.
const credential = btoa(`${process.env.JETON_CLIENT_ID}:${process.env.JETON_API_KEY}`);
const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), { timeoutDuration: 2000 });

const bearer = (request) => /^Bearer +(\S+)$/i.exec(request.get("authorization") ?? "")?.[1];
const refuse = (response) =>
  response.status(401).set("WWW-Authenticate", 'Bearer error="invalid_token"').end();

/** One call per request. A revoked token is refused from the moment on that Revoke has answered. */
async function introspected(request, response, next) {
  const token = bearer(request);
  if (token === undefined) return refuse(response);
  let claims;
  try {
    const answer = await fetch(`${issuer}/oauth2/introspect`, {
      method: "POST",
      headers: { authorization: `Basic ${credential}` },
      body: new URLSearchParams({ token }),
      signal: AbortSignal.timeout(2000),
    });
    if (!answer.ok) return response.status(503).end(); // nothing was decided
    claims = await answer.json();
  } catch {
    return response.status(503).end();
  }
  // A token with `cnf` is bound to a certificate that nobody compares here.
  if (!claims.active || !claims.aud.includes(audience) || claims.cnf) return refuse(response);
  request.claims = claims;
  next();
}

/** No call. A revoked token is taken until its `exp`. */
async function verified(request, response, next) {
  const token = bearer(request);
  if (token === undefined) return refuse(response);
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience,
      typ: "at+jwt",
      algorithms: ["ES256", "EdDSA"],
      requiredClaims: ["sub", "exp", "iat", "jti", "client_id"],
    });
    if (payload.cnf) return refuse(response);
    request.claims = payload;
  } catch (error) {
    const unreachable = error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError);
    return unreachable ? response.status(503).end() : refuse(response);
  }
  next();
}

export const app = express();
app.delete("/orders", introspected, (request, response) => response.json({ deletedBy: request.claims.sub }));
app.get("/orders", verified, (request, response) => response.json({ readBy: request.claims.sub }));
