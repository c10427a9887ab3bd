"""Throw-away credentials: a service account's key file, and the certificate of the gRPC server."""

from __future__ import annotations

import atexit
import datetime
import functools
import ipaddress
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair as PEM."""

    private: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a TLS server shows, and where clients find it."""

    chain: bytes
    private: bytes
    path: Path


@functools.cache
def key() -> Key:
    """One pair for the whole process: making one costs a tenth of a second."""
    return _pem(_new())


@functools.cache
def certificate() -> Certificate:
    """One for the whole process: grpc reads its roots once, at its first secure channel."""
    made = _new()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    chain = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(places), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(made, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    with tempfile.NamedTemporaryFile(prefix="roots-", suffix=".pem", delete=False) as file:
        file.write(chain)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return Certificate(chain, _pem(made).private, Path(file.name))


def key_file(path: Path, *, project: str, account: str, token_url: str) -> Path:
    """The JSON that `GOOGLE_APPLICATION_CREDENTIALS` names."""
    content = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "throw-away",
        "private_key": key().private.decode(),
        "client_email": account,
        "client_id": "1",
        "token_uri": token_url,
    }
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return path


def _new() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _pem(made: rsa.RSAPrivateKey) -> Key:
    return Key(
        made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        made.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
