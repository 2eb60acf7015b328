"""A service that takes jeton's tokens, on FastAPI: by introspection, and by the key set alone."""

import os

import httpx
import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

ISSUER = os.environ["JETON_ISSUER"]
AUDIENCE = "orders"
# The service as a client of jeton: needs PERMISSION_VALIDATE and the audience.
CREDENTIAL = (os.environ["JETON_CLIENT_ID"], os.environ["JETON_API_KEY"])

app = FastAPI()
bearer = HTTPBearer()
jeton = httpx.Client(base_url=ISSUER, auth=CREDENTIAL, timeout=2)
keys = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", timeout=2)


def refused() -> HTTPException:
    return HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def introspected(sent: HTTPAuthorizationCredentials = Depends(bearer)) -> dict:
    """One call per request. A revoked token is refused from the moment on that Revoke has answered."""
    try:
        answer = jeton.post("/oauth2/introspect", data={"token": sent.credentials})
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise HTTPException(503) from error  # nothing was decided
    claims = answer.json()
    if not claims["active"] or AUDIENCE not in claims["aud"]:
        raise refused()
    if "cnf" in claims:
        raise refused()  # bound to a certificate that nobody compares here
    return claims


def verified(sent: HTTPAuthorizationCredentials = Depends(bearer)) -> dict:
    """No call. A revoked token is taken until its `exp`."""
    try:
        if jwt.get_unverified_header(sent.credentials).get("typ") != "at+jwt":
            raise refused()
        claims = jwt.decode(
            sent.credentials,
            keys.get_signing_key_from_jwt(sent.credentials),
            algorithms=["ES256", "EdDSA"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
        )
    except jwt.PyJWKClientConnectionError as error:
        raise HTTPException(503) from error
    except jwt.PyJWTError as error:
        raise refused() from error
    if "cnf" in claims:
        raise refused()
    return claims


@app.delete("/orders")
def delete_orders(claims: dict = Depends(introspected)) -> dict:
    return {"deleted_by": claims["sub"]}


@app.get("/orders")
def read_orders(claims: dict = Depends(verified)) -> dict:
    return {"read_by": claims["sub"]}
