"""Signatures of the body alone, as receivers check them that were made for another sender, such as GitHub."""

from __future__ import annotations

import binascii
import hmac
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

GITHUB_HEADER = "X-Hub-Signature-256"


class GithubSignature(Struct, frozen=True, forbid_unknown_fields=True, tag_field="scheme", tag="github"):
    """`X-Hub-Signature-256: sha256=…`, as GitHub signs its webhooks, besides Standard Webhooks.

    The key is the subscription's secret as it is shown, `whsec_` included: give the receiver the whole of it.
    """


class HmacSignature(Struct, frozen=True, forbid_unknown_fields=True, tag_field="scheme", tag="hmac"):
    """An HMAC of the body in a header, with a `prefix` before it, besides Standard Webhooks.

    The key is the subscription's secret as it is shown, `whsec_` included: give the receiver the whole of it.
    """

    header: Annotated[str, Meta(min_length=1, max_length=128)]
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Meta(max_length=32, pattern=r"^([!-~][ -~]*)?$(?!\n)")] = ""


Signature: TypeAlias = GithubSignature | HmacSignature

_GITHUB = HmacSignature(GITHUB_HEADER, prefix="sha256=")


def header_name(signature: Signature) -> str:
    """The header that a signature stands in."""
    return _explicit(signature).header


class BodySigner:
    """Signs bodies for one subscription. A receiver knows one secret, so during a rotation the newest one signs."""

    def __init__(self, signature: Signature, secret: str) -> None:
        explicit = _explicit(signature)
        self._key = secret.encode()
        self._algorithm = explicit.algorithm
        self._in_hex = explicit.encoding == "hex"
        self._start = f"{explicit.header}: {explicit.prefix}".encode()

    def line(self, body: bytes) -> bytes:
        """The header of a request with this body, as it goes out."""
        mac = hmac.digest(self._key, body, self._algorithm)
        shown = binascii.hexlify(mac) if self._in_hex else binascii.b2a_base64(mac, newline=False)
        return b"%b%b\r\n" % (self._start, shown)


def _explicit(signature: Signature) -> HmacSignature:
    return _GITHUB if isinstance(signature, GithubSignature) else signature
