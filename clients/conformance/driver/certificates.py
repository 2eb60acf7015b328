"""Certificates for scenarios that speak TLS: an authority, servers and clients."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .peer import thumbprint


class Authority:
    """Issues certificates into files below a directory."""

    def __init__(self, directory: pathlib.Path, name: str = "authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key.public_key(), is_authority=True, names=[])
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool, names: list[x509.GeneralName]
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def make(self, name: str, files: str = "") -> tuple[str, str, str]:
        """A certificate for localhost and `name`: paths of certificate and key, and the thumbprint."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.UniformResourceIdentifier(f"spiffe://conformance.test/{name}"),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), is_authority=False, names=names)
        certificate_file = self._directory / f"{files or name}.pem"
        key_file = self._directory / f"{files or name}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        der = certificate.public_bytes(serialization.Encoding.DER)
        return str(certificate_file), str(key_file), thumbprint(der)

    def server(self, *, mutual: bool) -> grpc.ServerCredentials:
        certificate, key, _ = self.make("server")
        pair = (pathlib.Path(key).read_bytes(), pathlib.Path(certificate).read_bytes())
        roots = self.file.read_bytes() if mutual else None
        return grpc.ssl_server_credentials([pair], roots, require_client_auth=mutual)

    def client(self, name: str | None) -> tuple[grpc.ChannelCredentials, str]:
        """Credentials of a caller, with a certificate if it has a name; and its thumbprint."""
        if name is None:
            return grpc.ssl_channel_credentials(self.file.read_bytes()), ""
        certificate, key, print_of_it = self.make(name)
        pair = (pathlib.Path(key).read_bytes(), pathlib.Path(certificate).read_bytes())
        return grpc.ssl_channel_credentials(self.file.read_bytes(), *pair), print_of_it
