"""A fault of TLS on the way to the database is named at the first try, with the setting that is to be changed."""

import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from db.domain.errors import StoreUnavailable
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from tests.support.patience import PATIENCE

SSL_REQUEST = (80877103).to_bytes(4)
NO = b"N"
YES = b"S"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the certificate of db.example.com, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db.example.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path = tmp_path_factory.mktemp("tls") / "db.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM) + private)
    return path


@contextmanager
def door(certificate: Path | None) -> Generator[tuple[str, list[int]]]:
    """Where PostgreSQL's protocol begins: it says whether there is TLS, and shakes hands. With it, who came."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None:
        context.load_cert_chain(certificate)
    came: list[int] = []

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while (asked := connection.recv(8)) and asked[4:] != SSL_REQUEST:
                connection.sendall(NO)  # no other encryption either
            came.append(len(came))
            connection.sendall(YES if certificate is not None else NO)
            if certificate is not None:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        try:
            yield f"postgresql://ann@127.0.0.1:{listener.getsockname()[1]}/sales", came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


SSLMODE, SSLROOTCERT = "SALES_AUTOMATION_DATABASE_SSLMODE", "SALES_AUTOMATION_DATABASE_SSLROOTCERT"
Options = Callable[[Path], dict[str, Any]]
FAULTS: list[tuple[Options, str, str]] = [
    (lambda _: {"sslmode": "verify-full", "sslrootcert": "system"}, "not one that is trusted", SSLROOTCERT),
    (lambda file: {"sslmode": "verify-full", "sslrootcert": str(file)}, "for another host name", SSLMODE),
    (
        lambda file: {"sslmode": "verify-full", "sslrootcert": str(file.with_name("none.pem"))},
        "file of certificates to trust can't be read",
        SSLROOTCERT,
    ),
]


@pytest.mark.parametrize(("options", "reason", "setting"), FAULTS)
def test_a_certificate_that_does_not_do_is_told_with_the_setting_to_change(
    certificate: Path, options: Options, reason: str, setting: str
) -> None:
    with door(certificate) as (url, came):
        with pytest.raises(StoreUnavailable, match=f"{reason}.*{setting}") as raised:
            Database.open(DatabaseConfig(url=url, start_attempts=3, **options(certificate)))
        assert len(came) <= 1
    assert "\n" not in str(raised.value)


def test_a_server_without_tls_is_told_with_the_setting_to_change() -> None:
    with door(None) as (url, came):
        with pytest.raises(StoreUnavailable, match=f"offers no TLS.*{SSLMODE}"):
            Database.open(DatabaseConfig(url=url, start_attempts=3, sslmode="require"))
        assert len(came) == 1
