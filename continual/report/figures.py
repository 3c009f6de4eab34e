"""The figures, in the order of the page: heading, what it shows, and a pure function of a record, or of setups.

Scores are in percent, differences of scores in points. Names enter plotly only through ``label`` and ``harmless``
(``draw.py``): plotly reads a little HTML, and templates, in its texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from continual.report.composed import attention, gains, gates
from continual.report.confusion import confusion
from continual.report.costs import costs
from continual.report.draw import Shown
from continual.report.matrix import curves, matrix
from continual.report.pareto import pareto
from continual.report.spread import sensitivity, transfers
from continual.report.transfer import graph, transfer


class Panel(NamedTuple):
    """``says`` is HTML, unlike the sentences of figures that are absent."""

    heading: str
    says: str
    draw: Callable[[Any], Shown]


FIGURES: dict[str, Panel] = {  # of a Record
    "matrix": Panel(
        "Accuracy matrix",
        "R[i,j] in % of test rows: after task i (rows), on task j (columns). "
        '<span class="key own"></span>own module and head; <span class="key ncm"></span>~ not learned yet: nearest '
        "class mean on the features of the last module, or of the bare encoder in the first row.",
        matrix,
    ),
    "curves": Panel(
        "Accuracy over the stream",
        "Each task after each step, with 95 % intervals: Wilson's for shares of rows, else a bootstrap. "
        "Open markers: not learned yet.",
        curves,
    ),
    "transfer": Panel(
        "Transfer per task",
        "In points. Backward, R[T−1,i] − R[i,i]: below zero, later tasks made it worse. Forward, "
        "R[i−1,i] − b<sub>i</sub> with b the row before any task: above zero, the features of earlier tasks help.",
        transfer,
    ),
    "graph": Panel(
        "Transfer graph",
        "R[i,j] − R[i−1,j]: what learning task i did to the score on task j, learned before (its own module) or not "
        'yet (nearest class mean). <span class="key helps"></span>helps, <span class="key hurts"></span>hurts; '
        "the thicker, the more. The 30 strongest; the table has all.",
        graph,
    ),
    "gains": Panel(
        "What composing gains",
        "Against the task's own single module and against a head alone on the bare encoder, same test rows; "
        "95 % intervals of a paired bootstrap.",
        gains,
    ),
    "attention": Panel(
        "Fusion attention",
        "Mean weight of each module in each layer, over the target's test tokens; a row sums to 1.",
        attention,
    ),
    "gates": Panel(
        "Gates", "Mean opening of each gate in each layer, over the target's test rows: 0 is shut, 1 is open.", gates
    ),
    "confusion": Panel(
        "Router confusion",
        "Once all tasks were learned: of each task's test rows (rows), the share in % whose likeliest task is which "
        "(columns).",
        confusion,
    ),
    "costs": Panel("Costs", "Of each stored module, the head included.", costs),
}

OVERVIEW: dict[str, Panel] = {  # of a Sequence[Setup], those of one stream
    "pareto": Panel(
        "Score against cost",
        "Average accuracy of each run against what all modules that it stored cost together. Dotted: runs that none "
        "beats in both.",
        pareto,
    ),
    "transfers": Panel(
        "Forgetting and transfer",
        "Means over the runs of a setup, which differ in seed and order only (their number in brackets). 95 % "
        "intervals: Student's over runs that share nothing, Welch's over a full grid of seeds and orders; none for a "
        "single run.",
        transfers,
    ),
    "sensitivity": Panel(
        "Sensitivity to order and seed",
        "A dot a run, a line a setup; runs of one line differ in seed and order only. Colour and symbol: the order.",
        sensitivity,
    ),
}
