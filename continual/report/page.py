"""The skeleton of a page: policy, style, script, and islands of data. One file, no server, nothing fetched.

The script has no data in it, so that its digest can stand in the content security policy: names from a record reach
the page as escaped text or as JSON that no browser executes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from continual.report.draw import Figure, Shown
from continual.report.figures import Panel
from continual.report.grid import plain

HALF = 480  # figures that need no more pixels than this stand two in a row on a wide screen
SCRIPTS = ("figure.js", "difference.js", "page.js")

# Plotly writes style elements at run time, hence style-src; no image is loaded but those that the page makes itself.
POLICY = (
    "default-src 'none'; script-src $scripts; style-src 'unsafe-inline'; img-src data:; ${connect}"
    "base-uri 'none'; form-action 'none'"
)
LIVE = "connect-src 'self'; "  # a live page asks its own server for news

PAGE = Template(
    """<!DOCTYPE html>
<html lang="en"$live>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
$islands
<script>$plotly</script>
<script>$script</script>
</body>
</html>
"""
)


def page(title: str, body: str, islands: Mapping[str, Any], version: str = "") -> str:
    """HTML, 4.9 MB of which are plotly.js. ``body`` is HTML; ``islands`` are plain values by the id of their element.

    version  of a live page: it asks its server for another, and is loaded again when there is one
    """
    plotly, script = get_plotlyjs(), "".join(map(_file, SCRIPTS))
    named = {"scripts": f"{_digest(plotly)} {_digest(script)}", "connect": LIVE if version else ""}
    return PAGE.substitute(
        live=f' data-page="{text(version)}"' if version else "",
        policy=Template(POLICY).substitute(named),
        title=text(title),
        style=_file("page.css"),
        body=body,
        islands="\n".join(
            f'<script type="application/json" id="{text(name)}">{island(value)}</script>'
            for name, value in islands.items()
        ),
        plotly=plotly,
        script=script,
    )


@cache
def _file(name: str) -> str:
    return files("continual.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def island(value: Any) -> str:
    """JSON that cannot end its script element: in JSON, < only occurs inside strings, where an escape says the same."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c")


def text(value: object) -> str:
    """As HTML shows it: escaped, and without characters that act on the direction of the text."""
    return escape(plain(str(value)))


def cards(panels: Mapping[str, Panel], shown: Mapping[str, Shown]) -> str:
    """The places where figures are drawn, then the sentences that say why others are not there."""
    drawn = [_card(name, panels[name], figure) for name, figure in shown.items() if isinstance(figure, Figure)]
    absent = "".join(
        f'<p class="absent" id="fig-{name}"><b>{panels[name].heading}.</b> {text(why)}</p>'
        for name, why in shown.items()
        if isinstance(why, str)
    )
    return "\n".join([*drawn, f'<section class="card wide"><h2>Not shown</h2>{absent}</section>' if absent else ""])


def _card(name: str, panel: Panel, figure: Figure) -> str:
    size = f"min-width:{figure.least}px;min-height:{figure.layout['height']}px"  # no jump when it is drawn
    wide = " wide" if figure.least > HALF else ""
    return (
        f'<section class="card{wide}"><h2>{panel.heading}</h2><p class="says">{panel.says}</p><div class="scroll">'
        f'<div id="fig-{name}" role="img" aria-label="{panel.heading}" style="{size}"></div></div></section>'
    )


def figures(shown: Mapping[str, Shown]) -> dict[str, Any]:
    """Of an island: the figures that there are."""
    return {name: figure.island() for name, figure in shown.items() if isinstance(figure, Figure)}


class Number(str):
    """The head of a column of numbers, which stand at its right."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of plain texts; the first column may be broken into lines."""
    kinds = [' class="n"' if isinstance(head, Number) else "" for head in heads]
    first = "".join(f"<th{kind}>{text(head)}</th>" for kind, head in zip(kinds, heads, strict=True))
    kinds[0] = ' class="name"'
    lines = "\n".join(
        f"<tr>{''.join(f'<td{kind}>{text(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{first}</tr></thead><tbody>{lines}</tbody></table></div>'
