"""Files that are read again when they change: API keys, certificates and their keys."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import ssl
import threading
import time

import grpc

from ._secret import Secret
from .errors import CredentialInvalid

LOOK_EVERY_S = 1.0
_API_KEY = re.compile(r"jtk_[A-Za-z0-9]{1,64}_[A-Za-z0-9_-]{20,128}")
log = logging.getLogger("jeton")


@dataclasses.dataclass(frozen=True)
class Files:
    """Where the credentials of a client are."""

    api_key: Secret | None = None
    api_key_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def paths(self) -> list[str]:
        """All files that are watched."""
        return [path for path in (self.api_key_file, self.ca_file, self.cert_file, self.key_file) if path]


@dataclasses.dataclass(frozen=True)
class Credentials:
    """What was read."""

    authorization: Secret | None
    channel: grpc.ChannelCredentials
    metadata: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    """What goes with each call."""


def read(files: Files) -> Credentials:
    """Reads and checks everything."""
    key = files.api_key
    if files.api_key_file is not None:
        key = Secret(_bytes(files.api_key_file).decode("utf-8", "replace").strip())
    if key is not None and not _API_KEY.fullmatch(key.reveal()):
        where = f"The file {files.api_key_file}" if files.api_key_file else "The text"
        raise CredentialInvalid(
            f"{where} holds no API key. Give one as jeton printed it: jtk_…", file=files.api_key_file or ""
        )
    authority = _bytes(files.ca_file) if files.ca_file else None
    if authority is not None and b"-----BEGIN CERTIFICATE-----" not in authority:
        raise CredentialInvalid(f"The file {files.ca_file} holds no certificate in PEM.", file=files.ca_file or "")
    certificate = private = None
    if files.cert_file and files.key_file:
        _check_pair(files.cert_file, files.key_file)
        certificate, private = _bytes(files.cert_file), _bytes(files.key_file)
    elif files.cert_file or files.key_file:
        raise CredentialInvalid("A client certificate needs both, cert_file and key_file.")
    authorization = None if key is None else Secret(f"Bearer {key.reveal()}")
    metadata = () if authorization is None else (("authorization", authorization.reveal()),)
    return Credentials(authorization, grpc.ssl_channel_credentials(authority, private, certificate), metadata)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CredentialInvalid(f"The file {path} cannot be read: {error.strerror}.", file=path) from error


def _check_pair(certificate: str, key: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        told = f"The certificate {certificate} and the key {key} cannot be used together. Give both in PEM."
        raise CredentialInvalid(told, file=certificate) from error


class Watched:
    """Credentials that follow their files."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._has_files = bool(files.paths())
        self._stamps = self._look()
        self.current = read(files)
        self.version = 0
        self._next = time.monotonic() + LOOK_EVERY_S
        self._lock = threading.Lock()

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self.files.paths()]

    def refresh(self) -> None:
        """Looks at the files, at most once a second; what does not fit together leaves the old contents in use."""
        if not self._has_files or time.monotonic() < self._next:
            return
        with self._lock:
            self._next = time.monotonic() + LOOK_EVERY_S
            stamps = self._look()
            if stamps == self._stamps:
                return
            try:
                self.current = read(self.files)
            except CredentialInvalid as error:
                log.warning("changed credentials cannot be used, the old ones stay in use: %s", error)
            else:
                self.version += 1
            self._stamps = stamps


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
