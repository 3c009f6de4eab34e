"""What the figures share: palette, labels, axes, sizes. Colours of text and grid are left to the page."""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go

from continual.report.grid import short

# Okabe & Ito 2008: told apart by colour-blind readers; dashes and symbols repeat the distinction.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A68C9", "#8A8A8A")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
BLUES = [[0, "#dce9f5"], [0.5, "#9cc3e6"], [0.56, "#3f7fbf"], [1, "#0a3d7a"]]  # short middle: no number on half-dark
GREYS = [[0, "#ededea"], [1, "#a9a9a6"]]
PLAIN: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": ""}  # an axis of names
NAME = 16  # characters of a name on an axis; the whole name is in the hover text


def label(name: str, width: int = NAME) -> str:
    """A name as plotly may show it: cut, and with its HTML and its templates made harmless.

    >>> label("<b>%{x}</b>")
    '&lt;b&gt;&#37;{x}&lt;/b&gt;'
    """
    return harmless(short(name, width))


def harmless(text: str) -> str:
    """Text that plotly shows as it is: it would read tags, entities and %{…}."""
    return escape(text, quote=False).replace("%", "&#37;")


def names(texts: list[str], top: bool = False) -> dict[str, Any]:
    """An x axis of names, written aslant, ending at their tick, where there is no room for them side by side."""
    angles = [0, 35, 90] if top else [0, -35, -90]
    return {"tickvals": list(range(len(texts))), "ticktext": texts, "autotickangles": angles, **PLAIN}


def lines(texts: list[str]) -> dict[str, Any]:
    """A y axis of names, the first on top."""
    return {"tickvals": list(range(len(texts))), "ticktext": texts, "range": [len(texts) - 0.5, -0.5], **PLAIN}


def cells(scale: list[list[Any]], low: float, high: float) -> dict[str, Any]:
    """What all heat maps share: the number stands in its cell, so no colour bar is needed."""
    return {
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


def bars(bounds: list[tuple[float, float | None, float | None]], colour: str) -> dict[str, Any]:
    """Error bars from (value, low, high); nothing where there is no interval."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (high - value) if high is not None else 0 for value, _, high in bounds],
        "arrayminus": [100 * (value - low) if low is not None else 0 for value, low, _ in bounds],
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


def sized(figure: go.Figure, height: int, least: int) -> go.Figure:
    """``height`` in pixels; ``least``: the width below which the page scrolls the figure instead of squeezing it."""
    figure.update_layout(
        template="none",
        height=height,
        meta={"least": least},
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        bargap=0.35,
    )
    figure.update_annotations(font_size=13)
    figure.update_xaxes(automargin=True, fixedrange=True, title_font_size=12)
    figure.update_yaxes(automargin=True, fixedrange=True, title_font_size=12)
    return figure
