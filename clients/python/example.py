#!/usr/bin/env python3
"""Issues a token, validates it, revokes it, and reads a refusal, against a server that `jeton dev` started.

`run` is what a service of yours would do; the rest prepares it. Exits with 1 on any surprise.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import pathlib
import sys
import tempfile

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

# No call without a deadline: a server that hangs must not take its callers with it.
TIMEOUT_SECONDS = 5.0

SUBJECT = "svc:billing"
AUDIENCE = "orders"


def generate_stubs(protos: pathlib.Path, out: pathlib.Path) -> None:
    """Generates Python modules from the API definitions, and makes them importable.

    A service does this once, at build time: `python -m grpc_tools.protoc` takes the same arguments.
    """
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    files = [str(path.relative_to(protos)) for path in sorted(protos.glob("jeton/v1/*.proto"))]
    code = protoc.main(
        ["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}", *files]
    )
    check(code == 0 and bool(files), f"stubs are generated from {protos}")
    sys.path.insert(0, str(out))


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """The machine-readable cause of a refusal.

    Branch on `reason` and read `metadata`: they are kept. The message is for people and may change.
    """
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return info
    raise LookupError(f"no ErrorInfo in {error.code().name}: {error.details()}") from error


def run(address: str, api_key: str) -> None:
    """The life of one token."""
    # The modules exist only now; a service that generates them at build time imports at the top.
    from jeton.v1 import revocation_pb2, token_pb2, token_service_pb2, token_service_pb2_grpc

    # One channel for the whole process: it reconnects by itself, and calls share it.
    metadata = [("authorization", f"Bearer {api_key}")]
    with grpc.insecure_channel(address) as channel:
        tokens = token_service_pb2_grpc.TokenServiceStub(channel)

        def validate(token: str) -> token_pb2.Verdict:
            request = token_service_pb2.ValidateRequest(token=token, audiences=[AUDIENCE])
            return tokens.Validate(request, metadata=metadata, timeout=TIMEOUT_SECONDS).verdict

        # Issue. Without a TTL the token lives as long as the policy of the audience says.
        issued = tokens.Issue(
            token_service_pb2.IssueRequest(
                subject=SUBJECT,
                audiences=[AUDIENCE],
            ),
            metadata=metadata,
            timeout=TIMEOUT_SECONDS,
        ).token
        lifetime = issued.expire_time.seconds - issued.issue_time.seconds
        # The jti may be logged. The token never.
        check(0 < lifetime <= 86400, f"issued {issued.jti} for {lifetime} s")

        # Validate. A bad token is an answer with a status; an exception means that nothing was decided.
        verdict = validate(issued.access_token)
        status = token_pb2.TokenStatus.Name(verdict.status)
        check(verdict.status == token_pb2.TOKEN_STATUS_ACTIVE, f"validated: {status}")
        check(verdict.subject == SUBJECT and verdict.jti == issued.jti, f"it speaks for {verdict.subject}")

        # Revoke. By its text a caller may revoke what it obtained. Safe to repeat.
        revoked = tokens.Revoke(
            token_service_pb2.RevokeRequest(
                target=revocation_pb2.RevocationTarget(token=issued.access_token),
                reason=revocation_pb2.REVOCATION_REASON_LOGOUT,
            ),
            metadata=metadata,
            timeout=TIMEOUT_SECONDS,
        )
        outcome = revocation_pb2.RevocationOutcome.Name(revoked.outcome)
        check(revoked.outcome == revocation_pb2.REVOCATION_OUTCOME_REVOKED, f"revoked: {outcome}")
        # Complete: from here on no replica calls it ACTIVE. If not, `laggards` says who is behind.
        applied = f"{revoked.propagation.applied_replicas}/{revoked.propagation.replicas} replicas"
        check(revoked.propagation.complete, f"applied by {applied}, revision {revoked.revision}")

        # Validate again.
        verdict = validate(issued.access_token)
        status = token_pb2.TokenStatus.Name(verdict.status)
        check(verdict.status == token_pb2.TOKEN_STATUS_REVOKED, f"validated: {status}")

        # A refusal, and how to read it: no policy allows a token of 25 hours. It refuses it, or shortens it.
        try:
            shortened = tokens.Issue(
                token_service_pb2.IssueRequest(
                    subject=SUBJECT,
                    audiences=[AUDIENCE],
                    ttl=duration_pb2.Duration(seconds=25 * 3600),
                ),
                metadata=metadata,
                timeout=TIMEOUT_SECONDS,
            ).token
        except grpc.RpcError as error:
            info = error_info(error)
            check(error.code() == grpc.StatusCode.INVALID_ARGUMENT, f"refused: {error.details()}")
            check(info.domain == "jeton.v1" and info.reason == "TTL_EXCEEDS_MAXIMUM", f"reason: {info.reason}")
            asked, maximum = info.metadata["requestedTtlSeconds"], info.metadata["maxTtlSeconds"]
            check(asked == "90000" and int(maximum) <= 86400, f"asked for {asked} s of at most {maximum} s")
        else:
            lifetime = shortened.expire_time.seconds - shortened.issue_time.seconds
            basis = token_pb2.ExpirationBasis.Name(shortened.expiration_basis)
            check(lifetime <= 86400, f"asked for 90000 s, given {lifetime} s: {basis}")


def check(condition: bool, what: str) -> None:
    """Prints what was found, or ends the program."""
    if not condition:
        sys.exit(f"not as expected: {what}")
    print(f"ok  {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dev-json", type=pathlib.Path, default=pathlib.Path(".jeton/dev.json"), help="what `jeton dev` wrote"
    )
    parser.add_argument("--proto", type=pathlib.Path, default=REPOSITORY / "proto", help="the API definitions")
    arguments = parser.parse_args()

    dev = json.loads(arguments.dev_json.read_text())
    with tempfile.TemporaryDirectory(prefix="jeton-stubs-") as stubs:
        generate_stubs(arguments.proto.resolve(), pathlib.Path(stubs))
        run(dev["public"], dev["clients"]["dev-service"])
    print("all as expected")


if __name__ == "__main__":
    main()
