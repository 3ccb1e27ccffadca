"""The keys that open the secrets in the store: those of the settings, or one beside an SQLite database."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe
from tempfile import NamedTemporaryFile

from dispatcher.config.settings import Settings
from dispatcher.config.types import MIN_SECRET, Url
from dispatcher.domain.errors import SettingsError


def sqlite_file(url: Url) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    return Path(url.parts.path.removeprefix("/")) if url.parts.scheme == "sqlite" else None


def secret_keys(settings: Settings) -> list[str]:
    """The keys that open the secrets in the store, the one that seals first.

    SQLite needs no setting: without one a key is made and kept beside the database, in `<database>.key`,
    which only its owner may read. Raises SettingsError with PostgreSQL, or when that file cannot be made or
    read.
    """
    if settings.secrets.key:
        return [key.reveal() for key in settings.secrets.key]
    database = sqlite_file(settings.database.url)
    if database is None:
        raise SettingsError(
            "secrets.key (environment DISPATCHER_SECRETS_KEY): expected a key, the same in every "
            "process, because with PostgreSQL none is made. Make one with: openssl rand -base64 48"
        )
    path = key_file(database)
    try:
        if not path.exists():
            _make_key_file(path)
        return [_kept_key(path)]
    except OSError as error:
        raise SettingsError(
            f"secrets.key: {path} cannot be made or read ({error.strerror}); expected a file that "
            "this user may write, or a key in DISPATCHER_SECRETS_KEY"
        ) from None


def key_file(database: Path) -> Path:
    """Where the key of an SQLite database is kept."""
    return database.with_name(f"{database.name}.key")


def _make_key_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name and then linked: of two processes that start together one key wins, and
    # no process ever sees half of it. A temporary file is made for its owner only.
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file, suppress(FileExistsError):
        file.write(token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
        os.link(file.name, path)


def _kept_key(path: Path) -> str:
    key = path.read_text().strip()
    if len(key) < MIN_SECRET:
        raise SettingsError(f"secrets.key: {path} holds {len(key)} characters, expected {MIN_SECRET} or more")
    return key
