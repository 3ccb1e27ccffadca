"""The types of problem documents: what each means and what to do, shown at `/docs/errors`."""

from __future__ import annotations

from html import escape
from http import HTTPStatus

from msgspec import Struct

PATH = "/docs/errors"


class ProblemType(Struct, frozen=True):
    """A kind of refusal: `name` is its anchor at `/docs/errors`; what causes it, and what a caller can do."""

    name: str
    statuses: tuple[int, ...]
    cause: str
    cure: str

    @property
    def uri(self) -> str:
        """The `type` of its problem documents: relative to the server (RFC 9457, section 3.1.1)."""
        return f"{PATH}#{self.name}"


TYPES = (
    ProblemType(
        "invalid-request",
        (400, 422),
        "The body, a parameter or a header is not what this operation takes.",
        "`errors` names each field and what would be right. Change the request; it fails again as it is.",
    ),
    ProblemType(
        "unauthorized",
        (401,),
        "The API key is missing, malformed, unknown or deleted.",
        "Send `Authorization: Bearer <key>` with a key of this server. Admins create keys: `dispatcher keys create`.",
    ),
    ProblemType(
        "forbidden",
        (403,),
        "The key is valid but lacks the scope, or the job or owner belongs to somebody else.",
        "Use a key with the scope that `detail` names, or of the owner. `docs/security.md` has the whole table.",
    ),
    ProblemType(
        "quota-exceeded",
        (403, 429),
        "The owner has used up a quota; `errors[0].field` is `quota.<name>`.",
        "On 429 nothing was done: repeat after `Retry-After` seconds. On 403, delete what is unused or ask an admin "
        "for a higher quota.",
    ),
    ProblemType(
        "not-found",
        (404,),
        "There is nothing at this path, or the key may not see it.",
        "Check the ID, the tenant and the owner of the key. `/docs` lists all paths.",
    ),
    ProblemType(
        "method-not-allowed",
        (405,),
        "The path exists but not with this method.",
        "Use one of the methods in the header `Allow`.",
    ),
    ProblemType(
        "conflict",
        (409,),
        "The request does not fit the current state, such as a retry of a delivery that is still pending.",
        "Read the current state, then decide again.",
    ),
    ProblemType(
        "too-large",
        (413, 414, 431),
        "The body, the URL or the headers are longer than the server accepts.",
        "Split the request; `detail` names the limit.",
    ),
    ProblemType(
        "unsupported-media-type",
        (415,),
        "The `Content-Type` or `Content-Encoding` cannot be read.",
        "Send one of the types that `detail` names.",
    ),
    ProblemType(
        "internal-error",
        (500,),
        "An unexpected error on the server. Its log has the traceback.",
        "Repeat the request later. Tell the operator the time and the path if it persists.",
    ),
    ProblemType(
        "unavailable",
        (503,),
        "The database cannot be reached, did not respond in time, or the server has more to do than it can hold. "
        "The request may have been carried out: a connection that is lost during a commit does not say.",
        "Repeat after `Retry-After` seconds what does no harm twice: what reads, sets or deletes, and events that have "
        "an `id`, which are stored once. Read before you repeat anything else.",
    ),
    ProblemType(
        "other",
        (),
        "The HTTP status says what is wrong.",
        "See `title` and `detail`.",
    ),
)

_BY_STATUS = {status: one for one in reversed(TYPES) for status in one.statuses}
_OTHER, _QUOTA = TYPES[-1], next(one for one in TYPES if one.name == "quota-exceeded")


def type_of(status: int, *, quota: bool = False) -> ProblemType:
    """The type of a problem with this status; `quota` when a quota is the reason."""
    return _QUOTA if quota else _BY_STATUS.get(status, _OTHER)


def page() -> bytes:
    """The page `/docs/errors` in HTML."""
    sections = "".join(
        f'<h2 id="{one.name}">{one.name}</h2>\n<p class="soft">{", ".join(map(_status, one.statuses))}</p>\n'
        f"<p>{_html(one.cause)}</p>\n<p>{_html(one.cure)}</p>\n"
        for one in TYPES
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Errors - Dispatcher API</title>\n'
        '<link rel="stylesheet" href="/docs/docs.css">\n</head>\n<body>\n<main>\n<h1>Errors</h1>\n'
        f"<p>Errors are problem documents (RFC 9457). Their <code>type</code> points here.</p>\n{sections}"
        '<p><a href="/docs">All operations</a></p>\n</main>\n</body>\n</html>\n'
    ).encode()


def markdown() -> str:
    """The same as a table for `docs/errors.md`."""
    rows = "\n".join(
        f"| `{one.name}` | {', '.join(map(str, one.statuses)) or 'any'} | {one.cause} | {one.cure} |"
        for one in TYPES
    )
    return f"| type | status | cause | what to do |\n|---|---|---|---|\n{rows}\n"


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _html(text: str) -> str:
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
