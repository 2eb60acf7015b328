"""The methods of jeton's services, read from their definitions."""

from __future__ import annotations

import dataclasses
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message

from ._config import Policy, policy
from .v1 import admin_service_pb2, discovery_service_pb2, token_service_pb2


@dataclasses.dataclass(frozen=True)
class Method:
    """One method."""

    service: str
    name: str
    request: type[Message]
    response: type[Message]
    policy: Policy

    @property
    def path(self) -> str:
        """For gRPC."""
        return f"/{self.service}/{self.name}"

    @property
    def is_admin(self) -> bool:
        """Whether the admin listener serves it."""
        return self.service == "jeton.v1.AdminService"


def _read() -> dict[str, Method]:
    found: dict[str, Method] = {}
    for file in (token_service_pb2, discovery_service_pb2, admin_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                classes: list[Any] = [
                    message_factory.GetMessageClass(it) for it in (method.input_type, method.output_type)
                ]
                streams = method.client_streaming or method.server_streaming
                rules = Policy(0) if streams else policy(service.full_name, method.name)
                found[method.name] = Method(service.full_name, method.name, classes[0], classes[1], rules)
    return found


METHODS = _read()
