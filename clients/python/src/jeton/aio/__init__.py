"""The same for asyncio: nothing here blocks the loop."""

from .._judging import current_verdict
from .._renewal import Event, Token
from .asgi import GuardMiddleware
from .client import Client
from .guard import Guard
from .token_source import TokenSource

__all__ = ["Client", "Event", "Guard", "GuardMiddleware", "Token", "TokenSource", "current_verdict"]
