"""What both runners share: JSON of errors, tokens and verdicts."""

from __future__ import annotations

import datetime
import logging
import sys
import threading
from typing import Any

from google.protobuf import json_format

import jeton
from jeton._methods import METHODS
from jeton._status import details
from jeton.errors import JetonError

# Everything that the library logs must be printable.
logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)


def plain(value: Any) -> Any:
    """A typed field as JSON: durations in seconds."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def failure(error: BaseException) -> dict[str, Any]:
    """An error of the library."""
    if not isinstance(error, JetonError):
        return {"kind": type(error).__name__, "message": str(error)}
    delay = error.retry_after
    return {
        "kind": type(error).__name__,
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "metadata": error.metadata,
        "fields": {name: plain(value) for name, value in error.fields().items()},
        "retry_after_ms": None if delay is None else round(delay.total_seconds() * 1000),
    }


def client_arguments(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in ("client", "id", "do")}


def source_arguments(given: dict[str, Any]) -> dict[str, Any]:
    arguments = {name: value for name, value in given.items() if name not in ("source", "client", "id", "do")}
    if "ttl_s" in arguments:
        arguments["ttl"] = arguments.pop("ttl_s")
    return arguments


def guard_arguments(given: dict[str, Any]) -> dict[str, Any]:
    arguments = {name: value for name, value in given.items() if name not in ("guard", "client", "id", "do", "tls")}
    for name in ("deadline", "recheck"):
        if f"{name}_s" in arguments:
            arguments[name] = arguments.pop(f"{name}_s")
    return arguments


def request_of(method: str, given: dict[str, Any]) -> Any:
    return json_format.ParseDict(given, METHODS[method].request())


def response_of(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message)


def snake(method: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in method).lstrip("_")


def event(told: jeton.Event) -> dict[str, Any]:
    kind = type(told.error).__name__ if told.error else ""
    return {"kind": told.kind, "jti": told.jti, "session_id": told.session_id, "error": kind}


def refusal(error: Any) -> dict[str, Any]:
    """How a call to a peer ended."""
    info, _ = details(error.trailing_metadata())
    told = {"code": error.code().name, "reason": "", "domain": "", "message": error.details() or ""}
    return {**told, "reason": info.reason, "domain": info.domain} if info else told


def threads() -> list[str]:
    """Threads that live, but the main one, those of the runner and those that gRPC keeps for the whole process."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name != "MainThread" and not name.startswith("runner")]


def verdict_as_json(verdict: jeton.Verdict) -> dict[str, Any]:
    return {
        "subject": verdict.subject,
        "audiences": list(verdict.audiences),
        "scopes": list(verdict.scopes),
        "jti": verdict.jti,
        "session_id": verdict.session_id,
        "client_id": verdict.client_id,
        "claims": dict(verdict.claims),
    }


def shown(objects: list[Any]) -> list[str]:
    """Every way to print an object."""
    texts = []
    for found in objects:
        texts += [str(found), repr(found), f"{found}", "%s %r" % (found, found)]
        texts += [repr(vars(found)) if hasattr(found, "__dict__") else ""]
    return texts
