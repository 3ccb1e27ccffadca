"""Templates: texts, headers, JSON bodies and URLs with variables, compiled once and rendered for each event.

A value never changes the shape of what it is put into. A lone surrogate in a value, which no encoding can carry,
becomes "?".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Self, TypeAlias
from urllib.parse import quote

import msgspec

from dispatcher.domain.variables import TemplateError, Values, Variable, parse

MAX_JSON_DEPTH = 64

_encode_json = msgspec.json.Encoder().encode
