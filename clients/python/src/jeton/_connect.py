"""What the clients of both kinds share: endpoints, credentials, and the options of channels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from ._calls import Order
from ._endpoint import Endpoint, endpoints
from ._files import Files, Watched
from ._methods import Method
from ._secret import Secret, secret
from ._status import from_status
from .errors import EndpointInvalid, JetonError

# A channel that lost its server tries again soon, for 5 s each time, which gRPC calls min_reconnect_backoff.
# A connection that answers no ping is closed.
OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
]


class Group:
    """The endpoints of one listener."""

    def __init__(self, listed: list[Endpoint]) -> None:
        self.endpoints = listed
        self.order = Order(len(listed))
        # For plaintext: the channels that were made, at the places of their endpoints.
        self.plain: list[Any] = [None] * len(listed)


class Configuration:
    """The checked arguments of a client."""

    def __init__(
        self,
        listed: str | Iterable[str],
        admin: str | Iterable[str] | None,
        api_key: str | Secret | None,
        files: Files,
        allow_plaintext: bool,
    ) -> None:
        self.public = Group(endpoints(listed))
        self.admin = Group(endpoints(admin)) if admin is not None else None
        if api_key is not None and files.api_key_file is not None:
            raise ValueError("give api_key or api_key_file")
        has_key = api_key is not None or files.api_key_file is not None
        for one in self.all():
            if has_key and not one.tls and not one.is_loopback and not allow_plaintext:
                raise EndpointInvalid(
                    f"The API key would go to {one} in plaintext. Use https://, or allow_plaintext within a mesh.",
                    endpoint=str(one),
                )
        self.watched = Watched(
            Files(
                secret(api_key) if api_key is not None else None,
                files.api_key_file,
                files.ca_file,
                files.cert_file,
                files.key_file,
            )
        )

    def all(self) -> list[Endpoint]:
        """The endpoints of both listeners."""
        return self.public.endpoints + (self.admin.endpoints if self.admin else [])

    def forget(self) -> None:
        """Forgets the channels: they are closed."""
        for group in (self.public, self.admin):
            if group is not None:
                group.plain = [None] * len(group.endpoints)

    def group(self, method: Method, admin: bool) -> Group:
        """Where a method is served."""
        return self.admin if (method.is_admin or admin) and self.admin is not None else self.public

    def __repr__(self) -> str:
        return ", ".join(str(one) for one in self.all())


def error_of(error: grpc.RpcError, endpoint: Endpoint) -> JetonError:
    """Returns the error of a failed call."""
    call: grpc.Call = error  # type: ignore[assignment] # an RpcError of a call is a Call, too
    return from_status(call.code(), call.details() or "", call.trailing_metadata(), str(endpoint))
