"""What a peer's refusal of a token means."""

from __future__ import annotations

from typing import Any

import grpc

from ._status import details

GUARD_DOMAIN = "guard.jeton.v1"
_MENDED = frozenset({"EXPIRED", "REVOKED"})


def another_token_may_help(code: grpc.StatusCode | None, trailing: Any) -> bool:
    """Whether the status says that the token is expired or revoked, or does not say why it is refused."""
    if code is not grpc.StatusCode.UNAUTHENTICATED:
        return False
    info, _ = details(trailing)
    return info is None or info.domain != GUARD_DOMAIN or info.reason in _MENDED
