"""Where a server is: `https://host[:port]` or `http://host[:port]`, and nothing more."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable

from .errors import EndpointInvalid

_HOST = re.compile(r"[A-Za-z0-9._-]+")


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An endpoint that was checked."""

    host: str
    port: int
    tls: bool

    @property
    def target(self) -> str:
        """For gRPC."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.target}"

    @property
    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def endpoint(text: str) -> Endpoint:
    """Reads an endpoint. The error does not repeat the text, which may hold a password."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("http", "https"):
        raise _invalid("it begins neither with https:// nor with http://")
    authority = rest.removesuffix("/")
    if "@" in authority:
        raise _invalid("it holds a user or a password, which are not sent")
    if any(sign in authority for sign in "/?#"):
        raise _invalid("it has a path, a query or a fragment")
    if authority.startswith("["):
        host, bracket, after = authority[1:].partition("]")
        if not bracket or not _is_ipv6(host) or (after and not after.startswith(":")):
            raise _invalid("its IPv6 address has another form than [address]:port")
        port = after.removeprefix(":") if after else None
    else:
        host, colon, after = authority.partition(":")
        port = after if colon else None
        if not _HOST.fullmatch(host):
            raise _invalid("its host is empty, or has a character that no host has")
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _invalid("its port is no number from 1 to 65535")
    return Endpoint(host, int(port) if port else 443 if scheme == "https" else 80, scheme == "https")


def endpoints(texts: str | Iterable[str]) -> list[Endpoint]:
    """Reads one or more endpoints."""
    found = [endpoint(text) for text in ([texts] if isinstance(texts, str) else texts)]
    if not found:
        raise _invalid("none is given")
    return found


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _invalid(why: str) -> EndpointInvalid:
    return EndpointInvalid(f"The endpoint is no address of a server: {why}. Write https://host:port.")
