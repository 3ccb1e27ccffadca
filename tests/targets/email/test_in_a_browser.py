"""The mails as Chromium shows them, light and dark: nothing is wider than a phone, and all of it can be read."""

from __future__ import annotations

import html
import re
import subprocess

import msgspec
import pytest
from msgspec import Struct

from tests.targets.email.samples import contents

CHROMIUM = "/usr/bin/chromium"
WIDTHS = (360, 700)
SCHEMES = {"light": 1, "dark": 0}
"""Chromium's numbers for what a page is asked to look like."""

SHOWN = ("finished", "failed", "digest", "digest-of-equals", "question", "long", "right-to-left", "terminal")
"""The samples that differ in what they look like."""

CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3."""

FRAME = (
    '<iframe data-name="{name}" width="{width}" style="border: 0" height="3000" srcdoc="{page}"></iframe>\n'
)
SCRIPT = """<script>
const numbers = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
function luminance([r, g, b]) {
  const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}
function background(one, window) {
  for (; one; one = one.parentElement) {
    const found = numbers(window.getComputedStyle(one).backgroundColor);
    if (found.length === 3 || found[3] > 0) return found;
  }
  return [255, 255, 255];
}
function contrast(one, window) {
  const [light, dark] = [numbers(window.getComputedStyle(one).color), background(one, window)]
    .map(luminance).sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}
function look(frame) {
  const page = frame.contentDocument, window = frame.contentWindow, width = Number(frame.width);
  const all = [...page.querySelectorAll("body, body *")];
  const texts = all.filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const described = (one) => one.tagName + " " + one.textContent.trim().slice(0, 40);
  return {
    name: frame.dataset.name + " at " + width,
    width: page.documentElement.scrollWidth,
    wide: all.filter((one) => one.getBoundingClientRect().right > width + 1).map(described),
    faint: texts.filter((one) => contrast(one, window) < CONTRAST).map(described),
    size: Math.min(...texts.map((one) => parseFloat(window.getComputedStyle(one).fontSize))),
    text: page.body.innerText.trim(),
    background: background(page.body, window),
  };
}
window.onload = () => { document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(look)); };
</script>"""


class Shown(Struct, frozen=True):
    """A page as it is shown: how wide, which elements stick out or are faint, the smallest text in pixels."""

    name: str
    width: int
    wide: list[str]
    faint: list[str]
    size: float
    text: str
    background: list[float]


@pytest.fixture(scope="module", params=SCHEMES)
def pages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[Shown]]:
    """These samples at every width, looked at in one go."""
    scheme: str = request.param
    folder = tmp_path_factory.mktemp(scheme)
    made = contents()
    frames = [
        FRAME.format(name=name, width=width, page=html.escape(made[name].html or "", quote=True))
        for name in SHOWN
        for width in WIDTHS
    ]
    file = folder / "frames.html"
    script = SCRIPT.replace("CONTRAST", str(CONTRAST))
    scheme_of_page = f'<meta charset="utf-8"><meta name="color-scheme" content="{scheme}">'
    file.write_text(f"<!doctype html>{scheme_of_page}<title></title>{''.join(frames)}{script}")
    ended = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--user-data-dir={folder / 'profile'}",
            *("--virtual-time-budget=5000", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = re.search("<title>(.+?)</title>", ended.stdout, re.DOTALL)
    assert found is not None, ended.stderr
    return scheme, msgspec.json.decode(html.unescape(found[1]), type=list[Shown])


def test_no_mail_is_wider_than_the_screen(pages: tuple[str, list[Shown]]) -> None:
    _, found = pages
    assert len(found) == len(SHOWN) * len(WIDTHS)
    assert {page.name: page.wide for page in found if page.wide} == {}
    assert [page.name for page in found if page.width > int(page.name.rpartition(" ")[2])] == []


def test_all_of_a_mail_can_be_read(pages: tuple[str, list[Shown]]) -> None:
    scheme, found = pages
    assert {page.name: page.faint for page in found if page.faint} == {}
    assert min(page.size for page in found) >= 12
    # Else the one scheme is only the other once more.
    assert {max(page.background) < 128 for page in found} == {scheme == "dark"}


def test_what_matters_stands_first(pages: tuple[str, list[Shown]]) -> None:
    first = {page.name: page.text for page in pages[1]}
    assert first["finished at 360"].startswith("FINISHED")
    assert first["failed at 360"].startswith("FAILED\n\nout of memory")
    assert first["digest at 360"].startswith("13\xa0FAILED")
