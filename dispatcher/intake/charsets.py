"""Charsets as publishers name them, and the codecs that read them."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# No others: some of Python's codecs, such as punycode, take a time that grows with the square of the text.
_READ = re.compile(
    r"utf-?8|utf-(16|32)(-?[lb]e)?|(us-)?ascii|latin-?\d{1,2}|iso-?8859-\d{1,2}|windows-\d{3,4}|cp\d{3,4}|koi8-[rtu]"
    r"|shift-jis|sjis|euc-(jp|kr)|gb(k|2312|18030)|big5|mac-?roman"
)


@lru_cache(64)
def codec_of(charset: str) -> str | None:
    """The name of Python's codec for a charset; None for what is no charset, or none that is read here."""
    name = charset.strip().lower().replace("_", "-")
    if not _READ.fullmatch(name):
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None
