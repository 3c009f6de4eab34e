"""What stands around the runs of a page of several: which one is picked, what those of a stream have in common, and
what was found but is no run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from continual.errors import counted
from continual.report.figures import OVERVIEW
from continual.report.grid import plain, points
from continual.report.page import cards, figures, table, text
from continual.report.part import STATES, Part
from continual.report.record import Record
from continual.report.scan import Skipped
from continual.report.setups import setups

METRICS = {"average_accuracy": "accuracy, %", "forgetting": "forgetting", "forward_transfer": "forward transfer"}

DIFFERENCE = """<section class="card wide" id="difference" hidden><h2>Run A minus run B</h2>
<p class="says">In points, cell by cell of the accuracy matrices: blue where A is better, orange where B is.</p>
<p id="difference-says" role="status"></p>
<div class="scroll"><div id="fig-difference" role="img" aria-label="Run A minus run B"></div></div></section>"""


class Entry(NamedTuple):
    """A run of the page: where its part is, what it is picked by, and its record."""

    part: str
    key: str
    record: Record


def over(runs: Sequence[Entry]) -> Part:
    """The runs of one stream: figures over all that are finished, and a table to pick from."""
    groups = setups([run.record for run in runs if run.record.status != "begun"])
    shown = {name: panel.draw(groups) for name, panel in OVERVIEW.items()}
    return Part(cards(OVERVIEW, shown) + _table(runs), {"figures": figures(shown)})


def _table(runs: Sequence[Entry]) -> str:
    numbers = "".join(f'<th class="n">{head}</th>' for head in ("seed", *METRICS.values()))
    heads = f"<th>run</th><th>strategy</th><th>method</th><th>encoder</th>{numbers}<th>date</th><th>state</th>"
    lines = "\n".join(map(_line, runs))
    return (
        '<section class="card wide"><h2>Runs</h2><p class="says">Follow a run\'s name to see it below.</p>'
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Runs">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div></section>"
    )


def _line(run: Entry) -> str:
    record = run.record
    found = [record.metrics[name].value if name in record.metrics else None for name in METRICS]
    numbers = "".join(f'<td class="n">{cell}</td>' for cell in (record.seed, *map(points, found)))
    names = "".join(f"<td>{text(cell)}</td>" for cell in (record.strategy, record.method, record.encoder.name))
    ends = f"<td>{text(record.created[:10])}</td><td>{text(STATES.get(record.status, record.status))}</td>"
    link = f'<td><a href="#{text(address(run))}"><code>{text(run.key)}</code></a></td>'
    return f'<tr data-part="{run.part}">{link}{names}{numbers}{ends}</tr>'


def address(run: Entry) -> str:
    """What stands behind # where this run is picked."""
    return urlencode({"run": run.key})


def heading(runs: Sequence[Entry], streams: Mapping[str, Sequence[Entry]], skipped: Sequence[Skipped]) -> str:
    """What is on the page, before anything is picked."""
    going = sum(run.record.status == "begun" for run in runs)
    counts = [counted(len(runs), "run"), counted(len(streams), "stream")]
    counts += [f"{going} not finished"] if going else []
    counts += [f"{len(skipped)} skipped"] if skipped else []
    none = '<p class="absent">No run yet: continual run makes one.</p>' if not runs else ""
    named = ", ".join(map(plain, streams))
    return f"""<header><h1>Runs of continual</h1>
<p class="lead">{" · ".join(counts)} <span id="live" class="soft" role="status"></span></p>
<p class="soft">{text(named)}</p>{none}</header>"""


def picker(streams: Mapping[str, Sequence[Entry]]) -> str:
    """Two runs; the second may be none."""
    groups = "".join(
        f'<optgroup label="{text(stream)}">{"".join(map(_option, runs))}</optgroup>' for stream, runs in streams.items()
    )
    return (
        '<nav class="card wide pick" id="picker" aria-label="Runs to show">'
        f'<label>Run A<select id="run">{groups}</select></label>'
        f'<label>minus run B<select id="with"><option value="">none</option>{groups}</select></label></nav>'
    )


def _option(run: Entry) -> str:
    record = run.record
    says = f"{record.strategy} · {record.method} · seed {record.seed} · {run.key}"
    return f'<option value="{text(run.key)}" data-part="{run.part}">{text(says)}</option>'


def stream_picker(streams: Mapping[str, Sequence[Entry]]) -> str:
    """Which stream's runs are looked at together; where there is only one, nobody is asked."""
    options = "".join(
        f'<option value="{text(stream)}" data-part="stream-{number}">{text(stream)}, runs: {len(runs)}</option>'
        for number, (stream, runs) in enumerate(streams.items())
    )
    hidden = " hidden" if len(streams) < 2 else ""
    twice = len(streams) > len({run.record.stream for runs in streams.values() for run in runs})
    says = "; with a number: other tasks or rows under the same name" if twice else ""
    label = f'<label>Stream{says}<select id="stream">{options}</select></label>'
    return f'<nav class="card wide pick" aria-label="Stream to show"{hidden}>{label}</nav>'


def left_out(skipped: Sequence[Skipped]) -> str:
    """What was found but is no run, with the reason."""
    if not skipped:
        return ""
    found = table(["file", "why"], [[str(skip.path), skip.why] for skip in skipped])
    return f'<details class="card wide skipped"><summary>Skipped: {len(skipped)}</summary>{found}</details>'
