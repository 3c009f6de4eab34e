"""The page in a real browser: its policy lets plotly draw, and nothing is complained about."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from continual.report.dashboard import render
from continual.report.figures import FIGURES

from .sample import FIFTEEN, HOSTILE, record

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--virtual-time-budget=8000", "--enable-logging=stderr", "--dump-dom"),
)
DARK = "--blink-settings=preferredColorScheme=0"


def opened(page: str, folder: Path, *flags: str) -> tuple[str, list[str]]:
    """The DOM after the scripts ran, without the scripts, and the lines of the console."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [BROWSER, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", (folder / "page.html").as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return re.sub(r"<script\b.*?</script>", "", run.stdout, flags=re.S), console


def drawn(dom: str) -> set[str]:
    """Names of the figures whose element holds a plotly drawing."""
    parts = re.split(r'id="fig-(\w+)"', dom)[1:]
    return {name for name, rest in zip(parts[::2], parts[1::2], strict=True) if 'class="main-svg"' in rest}


def test_every_figure_is_drawn_and_the_console_is_silent(tmp_path):
    dom, console = opened(render(record()), tmp_path)
    assert console == []
    assert drawn(dom) == set(FIGURES)
    assert f'data-drawn="{len(FIGURES)}"' in dom
    assert "~53.4" in dom


def test_figures_take_the_colours_of_a_dark_page(tmp_path):
    dom, console = opened(render(record(FIFTEEN)), tmp_path, DARK)
    assert console == []
    assert drawn(dom) == set(FIGURES)
    assert "fill: rgb(232, 234, 236)" in dom


def test_hostile_names_run_nothing_and_are_shown_as_they_are(tmp_path):
    names = (HOSTILE, "</script><img src=x onerror=alert(1)>", "%{x} &amp; <b>")
    dom, console = opened(render(record(names)), tmp_path)
    assert console == []
    assert drawn(dom) == set(FIGURES)
    assert not re.search(r"<img|<b>\s*<", dom)
    assert "%{x} &amp;amp; &lt;b&gt;" in dom  # serialised once: on the page it reads %{x} &amp; <b>


def test_a_script_that_the_policy_does_not_name_is_refused(tmp_path):
    dom, console = opened(render(record()).replace('"use strict";', '"use strict"; '), tmp_path)
    assert any("Content Security Policy" in line for line in console)
    assert drawn(dom) == set()
