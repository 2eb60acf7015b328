"""A text that does not print."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn


class Secret:
    """Holds a token or a key. `str`, `repr`, formatting and logging give `[secret]`; `reveal` gives the text."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Returns the text."""
        return self.__text

    def __repr__(self) -> str:
        return "[secret]"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.__text.encode())

    def __hash__(self) -> int:
        return hash(self.__text)

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self


def secret(text: str | Secret) -> Secret:
    """Returns `text` as a secret."""
    return text if isinstance(text, Secret) else Secret(text)
