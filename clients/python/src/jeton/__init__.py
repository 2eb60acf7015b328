"""A client of jeton: tokens that stay fresh, a guard for servers, and the calls of the token authority.

The types here block; those of `jeton.aio` are for asyncio.
"""

from . import errors
from ._peers import GUARD_DOMAIN
from ._secret import Secret
from ._types import IssuedToken, RefreshCredential, Verdict
from .client import Client
from .errors import JetonError
from .guard import Guard, current_verdict
from .token_source import Event, Token, TokenSource

__version__ = "0.1.0"

__all__ = [
    "GUARD_DOMAIN",
    "Client",
    "Event",
    "Guard",
    "IssuedToken",
    "JetonError",
    "RefreshCredential",
    "Secret",
    "Token",
    "TokenSource",
    "Verdict",
    "__version__",
    "current_verdict",
    "errors",
]
