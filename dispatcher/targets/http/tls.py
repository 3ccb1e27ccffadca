"""TLS of targets that need more than the system's trust: a private authority, or a certificate of the client.

The key is never written to a disk: OpenSSL reads it from memory.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

from cachetools import LRUCache
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from msgspec import Meta, Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.http import Exchange, Request, Response, TransportError
from dispatcher.targets.http.auth import HIDDEN, refuse_hidden
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.tls import context

MAX_CLIENTS = 128
"""Clients with their own trust that are kept; each needs up to a megabyte for certificates of authorities."""

MAX_RSA_BITS = 8192

_Pem = Annotated[str, Meta(min_length=1, max_length=65536)]


class TlsOptions(Struct, frozen=True, forbid_unknown_fields=True, cache_hash=True):
    """What a connection with the receiver needs, in PEM form.

    `ca`: the certificates of authorities that are trusted in place of the system's. `certificate` and `key`: what the
    client shows of itself; the certificates of authorities between it and one that the receiver knows follow it.
    """

    ca: _Pem | None = None
    certificate: _Pem | None = None
    key: _Pem | None = None

    def __repr__(self) -> str:
        return f"TlsOptions({HIDDEN})"


def check_tls(tls: TlsOptions, origin: str, field: str) -> None:
    """Raise InvalidInput, naming the part of `field` that cannot be used."""
    if origin.startswith("http:"):
        raise InvalidInput(field, "expected none for a receiver without TLS, whose URL begins with http:")
    if tls == TlsOptions():
        raise InvalidInput(field, "expected ca, or certificate and key")
    context(tls.ca, verify=True, field=f"{field}.ca")
    if tls.certificate is None and tls.key is None:
        return
    for name, value, other in (("certificate", tls.certificate, "key"), ("key", tls.key, "certificate")):
        if value is None:
            raise InvalidInput(f"{field}.{name}", f"expected one beside the {other}")
    _check_pair(tls.certificate or "", tls.key or "", field)


def hide_in_tls(tls: TlsOptions) -> dict[str, object]:
    """What may be shown of it."""
    return {"ca": tls.ca, "certificate": tls.certificate, "key": None if tls.key is None else HIDDEN}


def expires_at(certificate: str) -> datetime | None:
    """When a client's certificate expires; None when it is none."""
    try:
        return x509.load_pem_x509_certificates(certificate.encode())[0].not_valid_after_utc
    except ValueError:
        return None


class TlsClients:
    """Clients with their own trust. Those with the same options and time share their connections."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._clients: LRUCache[tuple[TlsOptions, int | None], asyncio.Task[Exchange]] = LRUCache(MAX_CLIENTS)

    def within(self, seconds: int | None, tls: TlsOptions) -> Exchange:
        """What sends with these options, within so many seconds, or the usual time."""
        return _TlsExchange(self, seconds, tls)

    async def client(self, seconds: int | None, tls: TlsOptions) -> Exchange:
        """The client. Raises TransportError when it cannot be made."""
        making = self._clients.get((tls, seconds))
        if making is None:
            making = self._clients[tls, seconds] = asyncio.create_task(self._make(seconds, tls))
        try:
            return await asyncio.shield(making)
        except (ssl.SSLError, InvalidInput, ValueError, OSError) as error:
            self._clients.pop((tls, seconds), None)
            raise TransportError(
                "the certificates in target.tls cannot be used: expected other ones"
            ) from error

    async def close(self) -> None:
        """Close connections."""
        for making in list(self._clients.values()):
            if making.done() and not making.cancelled() and making.exception() is None:
                await making.result().close()
            making.cancel()
        self._clients.clear()

    async def _make(self, seconds: int | None, tls: TlsOptions) -> Exchange:
        limit = self._egress.timeout if seconds is None else min(seconds, self._egress.max_timeout)
        # In a thread: what the system trusts are some hundred certificates in files.
        return self._egress.client(limit, await asyncio.to_thread(_context, tls))


class _TlsExchange(Struct, frozen=True):
    """An `Exchange` that makes its client, or makes it again, when it has something to send."""

    clients: TlsClients
    seconds: int | None
    tls: TlsOptions

    async def send(self, request: Request) -> Response:
        client = await self.clients.client(self.seconds, self.tls)
        return await client.send(request)

    async def close(self) -> None:
        """Nothing: others use the client too."""


def _check_pair(certificate: str, key: str, field: str) -> None:
    refuse_hidden(key, f"{field}.key")
    try:
        found = x509.load_pem_x509_certificates(certificate.encode())[0]
        shown = _bytes(found.public_key())
    except (ValueError, UnsupportedAlgorithm):
        expected = "expected a certificate in PEM form: -----BEGIN CERTIFICATE-----…"
        raise InvalidInput(f"{field}.certificate", expected) from None
    try:
        # Without it a key of 8,000 bits whose factors are checked stops the process for seconds.
        private = load_pem_private_key(key.encode(), None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise InvalidInput(f"{field}.key", "it is encrypted: expected one without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        expected = "expected a private key in PEM form: -----BEGIN PRIVATE KEY-----…"
        raise InvalidInput(f"{field}.key", expected) from None
    if isinstance(private, RSAPrivateKey) and private.key_size > MAX_RSA_BITS:
        raise InvalidInput(f"{field}.key", f"expected an RSA key of at most {MAX_RSA_BITS} bits")
    if _bytes(private.public_key()) != shown:
        raise InvalidInput(f"{field}.key", "expected the key of the first certificate in tls.certificate")
    if found.not_valid_after_utc < datetime.now(UTC):
        raise InvalidInput(
            f"{field}.certificate", f"it expired at {found.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        )
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    except ssl.SSLError as error:
        reason = (error.reason or "it cannot be used").replace("_", " ").lower()
        raise InvalidInput(f"{field}.certificate", f"OpenSSL refuses it: {reason}") from None


def _context(tls: TlsOptions) -> ssl.SSLContext:
    made = context(tls.ca, verify=True, field="target.tls.ca")
    if made is None:
        made = ssl.create_default_context()
        made.set_alpn_protocols(("http/1.1",))
    if tls.certificate is not None and tls.key is not None:
        _load(made, tls.certificate, tls.key)
    return made


def _load(made: ssl.SSLContext, certificate: str, key: str) -> None:
    with _in_memory(f"{certificate}\n{key}\n".encode()) as path:
        # Without a password OpenSSL would ask for it on the terminal.
        made.load_cert_chain(path, password="")


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path under which it can be read: `load_cert_chain` takes nothing else."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("client-certificate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:  # as on macOS
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def _bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
