"""What the figures share: palette, labels, axes, sizes. Colours of text and grid are left to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from continual.report.grid import short

# Okabe & Ito 2008: told apart by colour-blind readers; dashes and symbols repeat the distinction.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A68C9", "#8A8A8A")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
BLUES = [[0, "#dce9f5"], [0.5, "#9cc3e6"], [0.56, "#3f7fbf"], [1, "#0a3d7a"]]  # short middle: no number on half-dark
GREYS = [[0, "#ededea"], [1, "#a9a9a6"]]
PLAIN: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": "", "ticklabelstandoff": 6}  # an axis of names
NAME = 16  # characters of a name on an axis; the whole name is in the hover text and in the table
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

BELOW = {"orientation": "h", "yanchor": "top", "y": -0.14, "x": 0}  # a legend of long names

Value = str | int | float | None


@dataclass(frozen=True)
class Figure:
    """Traces and layout as plotly.js takes them, and the same numbers as a table.

    least          pixels of width below which the page scrolls the figure instead of squeezing it
    columns, rows  the table, for readers of text and for CSV: whole names, scores in percent
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    least: int
    columns: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]

    def island(self) -> dict[str, Any]:
        """As the page's script reads it."""
        return {"data": self.data, "layout": self.layout, "columns": self.columns, "rows": self.rows}


Shown = Figure | str
"""A figure, or the sentence that says why there is none."""


def layout(height: int, axes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A figure's frame, ``height`` in pixels, with these axes: "xaxis", "yaxis", "xaxis2", …"""
    common = {"automargin": True, "fixedrange": True}
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 46, "b": 8},
        "font": {"family": FONT, "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0},
        "bargap": 0.35,
        **{name: {**common, **axis} for name, axis in axes.items()},
    }


def label(name: str, width: int = NAME) -> str:
    """A name as plotly may show it: cut, and with its HTML and its templates made harmless.

    >>> label("<b>%{x}</b>")
    '&lt;b&gt;&#37;{x}&lt;/b&gt;'
    """
    return harmless(short(name, width))


def harmless(text: str) -> str:
    """Text that plotly shows as it is: it would read tags, entities and %{…}."""
    return escape(text, quote=False).replace("%", "&#37;")


def titled(text: str) -> dict[str, Any]:
    """What an axis measures."""
    return {"title": {"text": text, "font": {"size": 12}}}


def names(texts: Sequence[str], top: bool = False) -> dict[str, Any]:
    """An x axis of names, written aslant, ending at their tick, where there is no room for them side by side."""
    angles = [0, 35, 90] if top else [0, -35, -90]
    return {"tickvals": list(range(len(texts))), "ticktext": list(texts), "autotickangles": angles, **PLAIN}


def lines(texts: Sequence[str]) -> dict[str, Any]:
    """A y axis of names, the first on top."""
    count = len(texts)
    return {"tickvals": list(range(count)), "ticktext": list(texts), "range": [count - 0.5, -0.5], **PLAIN}


def cells(scale: list[list[Any]], low: float, high: float) -> dict[str, Any]:
    """What all heat maps share: the number stands in its cell, so no colour bar is needed."""
    return {
        "type": "heatmap",
        "texttemplate": "%{text}",
        "hovertemplate": "%{hovertext}<br>%{text}<extra></extra>",
        "hoverongaps": False,
        "colorscale": scale,
        "zmin": low,
        "zmax": high,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }


def bars(bounds: Sequence[tuple[float, float | None, float | None]], colour: str) -> dict[str, Any]:
    """Error bars from (value, low, high); nothing where there is no interval."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [percent(high - value) if high is not None else 0 for value, _, high in bounds],
        "arrayminus": [percent(value - low) if low is not None else 0 for value, low, _ in bounds],
        "color": faint(colour),
        "thickness": 2,
        "width": 0,
    }


def faint(colour: str) -> str:
    """
    >>> faint("#0072B2")
    'rgba(0,114,178,0.5)'
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.5)"


def marker(place: int) -> dict[str, Any]:
    """Colour and symbol of a figure's n-th: no two of the first 64 have both in common."""
    return {"color": COLOURS[place % len(COLOURS)], "symbol": SYMBOLS[(place + place // len(COLOURS)) % len(SYMBOLS)]}


def below(count: int) -> int:
    """Pixels that a legend of long names needs, two in a row."""
    return 20 * ((count + 1) // 2)


def percent(value: float) -> float:
    """A share in percent, a difference in points: three decimals, for more would only make pages larger."""
    return round(100 * value, 3)


def maybe(value: float | None) -> float | None:
    """``percent`` of what may be missing."""
    return None if value is None else percent(value)


def spans(count: int, gap: float) -> list[list[float]]:
    """The parts of an axis of length 1 that ``count`` panels take up, with gaps between them.

    >>> spans(2, 0.2)
    [[0.0, 0.4], [0.6, 1.0]]
    """
    width = (1 - gap * (count - 1)) / count
    return [[round(i * (width + gap), 6), round(i * (width + gap) + width, 6)] for i in range(count)]


def heading(text: str, x: float, y: float) -> dict[str, Any]:
    """The title of a panel, above its middle; x and y are shares of the figure."""
    where = {"xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": "center", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 13}, **where}
