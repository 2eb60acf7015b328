"""PyJWT, Authlib and FastAPI, as they are, against a jeton: key set, tokens, introspection and revocation.

Run by `scripts/test-python`. Exits with 1 on any surprise.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import jwt
import requests
import uvicorn
from authlib.integrations.requests_client import AssertionSession, OAuth2Session
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
DEV = json.loads(pathlib.Path(os.environ["DEV_JSON"]).read_text())
ISSUER = DEV["issuer"]
AUDIENCE = "orders"
sys.path.insert(0, str(REPOSITORY / "clients/python"))
# The server of the test is on this machine.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
# For whatever must come about: no machine is so slow.
PATIENCE_S = 60.0


def check(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"not as expected: {what}")
    print(f"ok  {what}")


def refuses(error: type[Exception], act, what: str) -> None:
    """The peer itself must refuse, and by this error."""
    try:
        act()
    except error as refusal:
        check(True, f"{what}: {type(refusal).__name__}")
    else:
        check(False, what)


class Jeton:
    """The command line, as one of the development clients."""

    def __init__(self, directory: str, client: str) -> None:
        self.key_file = pathlib.Path(directory) / client
        self.key_file.write_text(DEV["clients"][client])

    def __call__(self, *arguments: str, text: str = "") -> str:
        environment = {
            "JETON_ENDPOINT": f"http://{DEV['public']}",
            "JETON_ADMIN_ENDPOINT": f"http://{DEV['admin']}",
            "JETON_API_KEY_FILE": str(self.key_file),
        }
        command = [os.environ["JETON"], *arguments]
        done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            sys.exit(f"jeton {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def issue(self, *arguments: str, audience: str = AUDIENCE) -> str:
        return self("issue", "--subject", "user:7", "--audience", audience, "--output", "token", *arguments)


def bound_token() -> str:
    """A token that is good with one certificate alone (RFC 8705): over gRPC, as a service obtains it."""
    import example

    with tempfile.TemporaryDirectory(prefix="jeton-stubs-") as stubs:
        example.generate_stubs(REPOSITORY / "proto", pathlib.Path(stubs))
        from jeton.v1 import token_service_pb2, token_service_pb2_grpc

        request = token_service_pb2.IssueRequest(
            subject="user:7", audiences=[AUDIENCE], certificate_thumbprint="A" * 43
        )
        metadata = [("authorization", f"Bearer {DEV['clients']['dev-service']}")]
        with grpc.insecure_channel(DEV["public"]) as channel:
            tokens = token_service_pb2_grpc.TokenServiceStub(channel)
            return tokens.Issue(request, metadata=metadata, timeout=PATIENCE_S).token.access_token


def kid(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def verifier(keys: jwt.PyJWKClient):
    def verify(token: str, audience: str = AUDIENCE, issuer: str = ISSUER) -> dict:
        key = keys.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["ES256", "EdDSA"], audience=audience, issuer=issuer)

    return verify


def until(what: str, holds) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"not in time: {what}")
        time.sleep(0.1)


def pyjwt(service: Jeton, admin: Jeton) -> None:
    metadata = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=PATIENCE_S).json()
    check(metadata["issuer"] == ISSUER, "the metadata is of the issuer that was asked")
    verify = verifier(jwt.PyJWKClient(metadata["jwks_uri"]))
    first = service.issue()
    claims = verify(first)
    check(claims["sub"] == "user:7", "PyJWT verifies a token by the key set")
    refuses(jwt.InvalidAudienceError, lambda: verify(first, audience="else"), "another audience")
    refuses(jwt.InvalidIssuerError, lambda: verify(first, issuer="http://elsewhere"), "another issuer")
    head, body, signature = first.split(".")
    flipped = f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    refuses(jwt.InvalidSignatureError, lambda: verify(flipped), "another signature")
    short = service.issue("--ttl", "1s")
    until("it expires", lambda: time.time() >= jwt.decode(short, options={"verify_signature": False})["exp"])
    refuses(jwt.ExpiredSignatureError, lambda: verify(short), "an expired token")

    admin("policy", "set", "edge", "--algorithm", "EdDSA")
    other = service.issue(audience="edge")
    check(jwt.get_unverified_header(other)["alg"] == "EdDSA", "a policy has tokens signed with EdDSA")
    check(verify(other, audience="edge")["sub"] == "user:7", "PyJWT verifies it by the same key set")

    # A rotation in good time: who fetches the key set while the next key is published needs no other.
    admin("key", "rotate", "--lead", "3s")
    ahead = verifier(jwt.PyJWKClient(metadata["jwks_uri"], lifespan=3600, cooldown_duration=3600))
    check(ahead(first)["sub"] == "user:7", "the key set is fetched, once, in the lead")
    until("the published key signs", lambda: kid(service.issue()) != kid(first))
    second = service.issue()
    check(ahead(second)["sub"] == "user:7", "a token of the next key verifies without another fetch")
    check(ahead(first)["sub"] == "user:7", "and one of the key before it")

    # An emergency, and the end of a key.
    admin("key", "rotate", "--emergency")
    third = service.issue()
    check(kid(third) not in {kid(first), kid(second)}, "another key signs at once")
    refuses(jwt.PyJWKClientError, lambda: ahead(third), "another key, to whom may not fetch again")
    eager = verifier(jwt.PyJWKClient(metadata["jwks_uri"], cooldown_duration=0))
    check(eager(first)["sub"] == "user:7", "whoever may fetch again")
    check(eager(third)["sub"] == "user:7", "verifies both")
    admin("revoke", "--key", kid(first), "--reason", "compromised", "--yes")
    fresh = verifier(jwt.PyJWKClient(metadata["jwks_uri"]))
    refuses(jwt.PyJWKClientError, lambda: fresh(first), "a token of a revoked key, by a fresh key set")
    check(fresh(third)["sub"] == "user:7", "the others live on")


def authlib(service: Jeton, admin: Jeton) -> None:
    metadata = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=PATIENCE_S).json()
    introspection, revocation = metadata["introspection_endpoint"], metadata["revocation_endpoint"]

    def session(client: str, key: str) -> OAuth2Session:
        return OAuth2Session(
            client,
            key,
            token_endpoint_auth_method="client_secret_basic",
            revocation_endpoint_auth_method="client_secret_basic",
        )

    own = session("dev-service", DEV["clients"]["dev-service"])
    token = service.issue("--scope", "orders:read")
    verify = verifier(jwt.PyJWKClient(metadata["jwks_uri"]))
    claims = own.introspect_token(introspection, token=token, token_type_hint="access_token").json()
    says = verify(token)
    check(claims["active"] is True, "Authlib's client is told that a token is active")
    check(all(claims[name] == says[name] for name in says if name != "rev"), "it is told what the token says")
    check(claims["scope"] == "orders:read" and claims["token_type"] == "Bearer", "in the words of RFC 7662")

    for what, client, key in [
        ("another's name", "dev-admin", DEV["clients"]["dev-service"]),
        ("no key", "dev-service", "secret"),
    ]:
        answer = session(client, key).introspect_token(introspection, token=token)
        check(answer.status_code == 401 and "active" not in answer.json(), f"{what}: 401")

    foreign = admin.issue()
    answer = own.revoke_token(revocation, token=foreign)
    refused = answer.status_code == 400 and answer.json()["error"] == "unauthorized_client"
    check(refused, "another client's token is not revoked")
    check(own.introspect_token(introspection, token=foreign).json()["active"], "it lives on")

    answer = own.revoke_token(revocation, token=token, token_type_hint="access_token")
    check(answer.status_code == 200 and answer.content == b"", "Authlib's client revokes a token")
    inactive = own.introspect_token(introspection, token=token).json()
    check(inactive == {"active": False}, "it is inactive at once, and nothing more is said")
    check(verify(token)["jti"] == says["jti"], "by the key set alone it is good until its exp")
    for what, text in [("a revoked token", token), ("garbage", "x"), ("a cut one", foreign[:-1])]:
        check(own.revoke_token(revocation, token=text).status_code == 200, f"{what} again: 200")
        check(own.introspect_token(introspection, token=text).json() == {"active": False}, f"{what}: inactive")


def obtains(admin: Jeton) -> None:
    """Tokens from the token endpoint, by Authlib's own code."""
    metadata = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=PATIENCE_S).json()
    endpoint, introspection = metadata["token_endpoint"], metadata["introspection_endpoint"]
    key = DEV["clients"]["dev-service"]
    own = OAuth2Session("dev-service", key, token_endpoint_auth_method="client_secret_basic")
    for method in ["client_secret_basic", "client_secret_post"]:
        session = OAuth2Session("dev-service", key, token_endpoint_auth_method=method)
        asked = {"grant_type": "client_credentials", "audience": AUDIENCE, "refreshable": "true"}
        token = session.fetch_token(endpoint, **asked)
        check(token["token_type"] == "Bearer" and token["expires_in"] == 900, f"Authlib obtains a token by {method}")
        said = own.introspect_token(introspection, token=token["access_token"]).json()
        check(said["active"] and said["sub"] == "dev-service", "it is good, and speaks for the client")
        fresh = session.refresh_token(endpoint, refresh_token=token["refresh_token"])
        check(fresh["access_token"] != token["access_token"], "Authlib refreshes it")

    # A workload of another issuer, which has no secret of jeton.
    private = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": "1", "alg": "ES256"}
    with tempfile.TemporaryDirectory(prefix="jeton-issuer-") as directory:
        keys = pathlib.Path(directory) / "keys.json"
        keys.write_text(json.dumps({"keys": [jwk]}))
        admin("client", "create", "ci", "--permission", "issue", "--audience", AUDIENCE, "--subject", "ci:*")
        rule = {"client": "ci", "subject": "ci:{sub}", "when": {"sub": "build-*"}}
        issuer = ["--issuer", "https://ci.example", "--audience", "jeton", "--static-jwks", str(keys)]
        admin("issuer", "create", "ci", *issuer, "--rule", json.dumps(rule))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    workload = AssertionSession(
        token_endpoint=endpoint,
        issuer="https://ci.example",
        subject="build-7",
        audience="jeton",
        grant_type=AssertionSession.JWT_BEARER_GRANT_TYPE,
        key=pem.decode(),
        header={"alg": "ES256", "kid": "1"},
    )
    workload.refresh_token()
    said = own.introspect_token(introspection, token=workload.token["access_token"]).json()
    facts = (said["active"], said["sub"], said["idp"])
    check(facts == (True, "ci:build-7", "ci"), "a workload of another issuer obtains a token by its assertion")
    admin("revoke", "--issuer", "ci", "--reason", "compromised", "--yes")
    said = own.introspect_token(introspection, token=workload.token["access_token"]).json()
    check(said == {"active": False}, "it is dead with its issuer")


def fastapi(service: Jeton) -> None:
    os.environ |= {
        "JETON_ISSUER": ISSUER,
        "JETON_CLIENT_ID": "dev-service",
        "JETON_API_KEY": DEV["clients"]["dev-service"],
    }
    import resource_server

    server = uvicorn.Server(uvicorn.Config(resource_server.app, port=0, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    until("the service serves", lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]

    def asked(method: str, token: str | None) -> int:
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        status = 503

        def decided() -> bool:
            # 503: it has not learned in its own two seconds whether the token is good.
            nonlocal status
            url = f"http://127.0.0.1:{port}/orders"
            status = requests.request(method, url, headers=headers, timeout=PATIENCE_S).status_code
            return status != 503

        until("the service decides", decided)
        return status

    token = service.issue()
    check((asked("GET", token), asked("DELETE", token)) == (200, 200), "the FastAPI service takes a token")
    for what, bad in [
        ("no token", None),
        ("garbage", "x"),
        ("another audience", service.issue(audience="else")),
        ("a bound token without its certificate", bound_token()),
    ]:
        check((asked("GET", bad), asked("DELETE", bad)) == (401, 401), f"{what}: refused by both")
    service("revoke", "-", text=token)
    check(asked("DELETE", token) == 401, "revoked: refused by introspection at once")
    check(asked("GET", token) == 200, "and taken by the key set alone until its exp: the lag that is documented")
    server.should_exit = True


def documented() -> None:
    document = (REPOSITORY / "docs/verifying.md").read_text()
    code = (REPOSITORY / "clients/python/resource_server.py").read_text()
    check(f"```python\n{code}```" in document, "docs/verifying.md shows the code that was run")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="jeton-peers-") as directory:
        service, admin = Jeton(directory, "dev-service"), Jeton(directory, "dev-admin")
        pyjwt(service, admin)
        authlib(service, admin)
        obtains(admin)
        fastapi(service)
    documented()
    print("all as expected")


if __name__ == "__main__":
    main()
