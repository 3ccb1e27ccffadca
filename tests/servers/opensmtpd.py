"""A private OpenSMTPD: a mail server as sites have it, which puts what it accepts into a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

from tests.servers.process import ServerError, ServerProcess, accepts, find_program, free_port

CONFIGURATION = """
table users {{ {users} }}
listen on 127.0.0.1 port {port} hostname relay.example.org
action "keep" maildir "{mail}" virtual <users>
match from any for rcpt-to {{ {known} }} action "keep"
"""

# Its spool and its control socket have fixed places: these are private ones that no other process sees.
ALONE = """
mount -t tmpfs tmpfs /run && mount -t tmpfs -o mode=711 tmpfs /var/spool/smtpd && exec "$0" -d -f "$1"
"""


class OpenSMTPD(ServerProcess):
    """It takes mail for `users` and refuses everybody else. Only root can start it."""

    def __init__(self, users: Sequence[str], log: Path | None = None) -> None:
        if os.getuid() != 0:
            raise ServerError("OpenSMTPD can be started by root only")
        self._smtpd = find_program("smtpd", "/usr/sbin/smtpd")
        super().__init__("opensmtpd", log)
        self.port = free_port()
        self.url = f"smtp://127.0.0.1:{self.port}"
        self._mail = self.directory / "mail"
        self._mail.mkdir()
        # Whom it delivers as has to reach the folder.
        shutil.chown(self._mail, "nobody")
        self.directory.chmod(0o711)
        self._configuration = self.directory / "smtpd.conf"
        texts = {
            "users": ", ".join(f'"{user}" = "nobody"' for user in users),
            "known": ", ".join(f'"{user}"' for user in users),
        }
        self._configuration.write_text(CONFIGURATION.format(**texts, port=self.port, mail=self._mail))
        self._configuration.chmod(0o600)

    def prepare(self) -> None:
        """Nothing: the configuration is there."""

    def command(self) -> Sequence[str | Path]:
        """Return the server in the foreground, in a private mount namespace."""
        return ["unshare", "--mount", "sh", "-c", ALONE, self._smtpd, self._configuration]

    def answers(self) -> bool:
        """Tell whether it listens."""
        return accepts(self.port)

    def messages(self) -> list[EmailMessage]:
        """Return what it has delivered."""
        read = BytesParser(policy=default).parsebytes
        return [read(file.read_bytes()) for file in self._mail.glob("new/*")]
