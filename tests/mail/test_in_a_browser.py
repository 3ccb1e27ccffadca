"""The mails as Chromium shows them: nothing is wider than a phone, and all that matters can be read."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from dispatcher.targets.mail.rehearsal import preview, preview_digest
from dispatcher.targets.mail.templates import Templates

CHROMIUM = "/usr/bin/chromium"
FRAME = """<!doctype html><title></title>
<iframe style="border: 0; width: {width}px; height: 3000px" srcdoc="{page}"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument;
  const wide = [...page.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > {width} + 1);
  document.title = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    wide: wide.map((one) => one.tagName + " " + one.textContent.trim().slice(0, 40)),
    text: page.body.innerText,
    size: parseFloat(frame.contentWindow.getComputedStyle(page.querySelector("td, p")).fontSize),
  }});
}};
</script>"""


class Shown(Struct, frozen=True):
    """A page as it is shown: how wide, which elements stick out, the text that can be seen, its size in pixels."""

    width: int
    wide: list[str]
    text: str
    size: float


def shown(directory: Path, page: str, width: int) -> Shown:
    """Let Chromium lay a page out in a frame of this width, in pixels."""
    file = directory / "frame.html"
    file.write_text(FRAME.format(width=width, page=html.escape(page, quote=True)))
    ended = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(
                f"--user-data-dir={directory / 'profile'}",
                "--virtual-time-budget=5000",
                "--dump-dom",
                file.as_uri(),
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = re.search("<title>(.*?)</title>", ended.stdout, re.DOTALL)
    assert found is not None, ended.stderr
    return msgspec.json.decode(html.unescape(found[1]), type=Shown)


@pytest.mark.parametrize("width", [375, 900])
@pytest.mark.parametrize("name", ["FINISHED", "FAILED", "digest"])
def test_a_mail_fits_a_phone_and_a_desktop_and_can_be_read(tmp_path: Path, name: str, width: int) -> None:
    templates = Templates()
    content = preview_digest(templates, None) if name == "digest" else preview(templates, name, None)
    assert content.html is not None
    page = shown(tmp_path, content.html, width)
    assert (page.width, page.wide) == (width, [])
    assert page.size >= 12
    first = {"FINISHED": "FINISHED", "FAILED": "FAILED\n\nout of memory", "digest": "13\xa0FAILED"}[name]
    assert page.text.strip().startswith(first)
