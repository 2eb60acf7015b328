"""A refresh token kept across restarts: a file of mode 0600, always whole."""

from __future__ import annotations

import contextlib
import os
import tempfile

from ._secret import Secret
from .errors import CredentialInvalid


class RefreshTokenFile:
    """The file of one session."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))

    def read(self) -> Secret | None:
        """Returns the token that is kept; `None` if there is no file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._invalid(f"cannot be read: {error.strerror}") from error
        with open(descriptor, encoding="ascii", errors="replace") as file:
            if os.fstat(descriptor).st_mode & 0o077:
                raise self._invalid("can be read by others than its owner: make its mode 0600")
            text = file.read().strip()
        if not text:
            raise self._invalid("is empty: remove it")
        return Secret(text)

    def write(self, token: Secret) -> None:
        """Replaces the file by a whole new one."""
        directory, name = os.path.split(self.path)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)  # of mode 0600
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(token.reveal() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def remove(self) -> None:
        """The session is over."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _invalid(self, why: str) -> CredentialInvalid:
        return CredentialInvalid(f"The file of the refresh token, {self.path}, {why}.", file=self.path)
