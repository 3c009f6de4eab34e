"""One run as a part of a page: its facts, tiles, figures and tables as HTML, and the data of its figures."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from continual.errors import counted
from continual.metric.base import metrics
from continual.report.draw import label, layout
from continual.report.figures import FIGURES
from continual.report.grid import MISSING, headline, judged, known, plain, points, routes, rows, title
from continual.report.page import Number, cards, figures, table, text
from continual.report.record import Certificate, Metric, Module, Record

PILLS = {"finished": "", "begun": " begun"}
STATES = {"begun": "not finished"}


class Part(NamedTuple):
    """HTML, and plain values for the island that its script reads."""

    body: str
    island: dict[str, Any]


def part(record: Record) -> Part:
    """Deterministic: one record, one part. Of a run that is going on, the rows so far."""
    shown = {name: panel.draw(record) for name, panel in FIGURES.items()}
    drawn = (LEARNING if record.status == "begun" else "") + cards(FIGURES, shown)
    tables = [_routing(record), _modules(record), _provenance(record)]
    body = "\n".join([_header(record), _tiles(record), drawn, *tables])
    return Part(body, {"figures": figures(shown), "matrix": _matrix(record)})


LEARNING = """<section class="card wide"><h2>Being learned</h2>
<p class="says">The loss of the training that goes on; each point is a mean over a few steps.</p>
<div class="scroll"><div id="fig-losses" role="img" aria-label="Being learned"></div></div></section>
"""
"""Where a live page draws the losses."""


def _matrix(record: Record) -> dict[str, Any]:
    """What two runs are compared by: scores in percent, row after row; names whole, and as plotly may show them."""
    names = [plain(task.name) for task in record.tasks]
    scores = [[cell and round(100 * (cell.score or 0), 3) for cell in row.cells] for row in rows(record)]
    return {"tasks": names, "labels": [label(name) for name in names], "scores": scores, "frame": layout(0, {})}


def _header(record: Record) -> str:
    encoder = record.encoder
    facts = {
        "Run": record.id,
        "Date": record.created[:19].replace("T", " "),
        "Seed": record.seed,
        "Encoder": f"{encoder.name}, {encoder.layers} layers, {encoder.parameters / 1e6:.1f} M parameters",
        "Tasks": len(record.tasks),
    }
    if record.status != "begun":
        facts["Time"] = f"{record.seconds:.1f} s"
        facts["Units evaluated"] = f"{record.forwarded_rows:,}"
        facts["Peak memory"] = f"{record.peak_memory_bytes / 1e6:,.0f} MB"
        facts["Encoder after the run"] = "unchanged" if record.encoder_unchanged else "changed"
        facts["Stored modules"] = "unchanged" if record.modules_unchanged else "changed"
        facts["Isolation"] = _isolation(record.certificate)
    listed = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    return f"""<header>
<span class="pill{PILLS.get(record.status, " bad")}">{text(STATES.get(record.status, record.status))}</span>
<h1>{text(record.stream)}</h1>
<p class="lead">{text(record.strategy)} · {text(record.method)} · {text(encoder.name)} · seed {record.seed}</p>
{_known(record)}<dl>{listed}</dl>
{_warnings(record)}
</header>"""


def _isolation(certificate: Certificate | None) -> str:
    if certificate is None:
        return "not certified"
    answers = f", answers on {certificate.rows} rows of each task too" if certificate.rows else ""
    return f"{certificate.comparisons} comparisons bit for bit{answers}"


def _known(record: Record) -> str:
    return "" if record.scenario == "task" else f"<p>{text(known(record))}</p>\n"


def _warnings(record: Record) -> str:
    found = [f"{module.name} diverged: {module.why}" for module in record.modules if module.status == "diverged"]
    if not record.encoder_unchanged:
        found.append("The encoder changed during the run: do not trust these scores.")
    if not record.modules_unchanged:
        found.append("Stored modules changed during the run: do not trust these scores.")
    items = "".join(f"<li>{text(line)}</li>" for line in [*found, *record.warnings])
    return f'<ul class="warnings">{items}</ul>' if items else ""


def _tiles(record: Record) -> str:
    tiles, over = "".join(_tile(name, metric) for name, metric in headline(record)), judged(record)
    said = over and f'<p class="says">Metrics are {text(over)}.</p>'
    return f'{said}<div class="tiles wide">{tiles}</div>'


def _tile(name: str, metric: Metric) -> str:
    """The formula is said only if the value was made by the version that this code has."""
    known = metrics().get(name)
    says = known.says if known and known.definition == metric.definition else ""
    lack = f"{counted(metric.missing, 'cell')} missing, left out" if metric.missing else ""
    return (
        f'<div class="tile"><span class="soft">{text(title(name))}</span><b>{points(metric.value)}</b>'
        f'<p class="says">{text(says)}</p><span class="lack">{lack}</span>'
        f"<code>{text(metric.definition)}</code></div>"
    )


def _routing(record: Record) -> str:
    """Nothing where the task of every row was given."""
    if record.routing is None:
        return ""
    heads = ["rows of", *map(Number, ("route", "answer", "answer, task given"))]
    found = [[name, points(row.route), points(row.total), points(row.oracle)] for name, row in routes(record)]
    says = f"Router {text(record.routing.router)}, in % of test rows: sent to their own task, and answered right."
    head = f'<h2>Task not given</h2><p class="says">{says}</p>'
    return f'<section class="card wide" id="routing">{head}{table(heads, found)}</section>'


def _modules(record: Record) -> str:
    heads = ["module", "kind", "digest", *map(Number, ("trained parameters", "bytes", "seconds", "valid, %"))]
    none = '<p class="absent">This run stored no module.</p>'
    found = table(heads, [_module(module) for module in record.modules]) if record.modules else none
    return f'<section class="card wide" id="modules"><h2>Modules</h2>{found}</section>'


def _module(module: Module) -> list[str]:
    kind = module.kind if module.kind == module.method else f"{module.method} {module.kind}"
    valid = "diverged" if module.status == "diverged" else points(module.valid_score)
    costs = (f"{module.trainable:,}", f"{module.bytes:,}", f"{module.seconds:.1f}", valid)
    return [f"{module.name} @ {module.version}", kind, module.digest[:12] or MISSING, *costs]


def _provenance(record: Record) -> str:
    facts = {
        "code": record.code,
        "stream": record.stream_digest,
        "encoder": {"revision": record.encoder.revision, "fingerprint": record.encoder.fingerprint},
        "versions": record.versions,
        "tasks": {task.name: task.source for task in record.tasks},
        "config": record.config,
    }
    lines = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False).split("\n")
    said = "\n".join(map(text, lines))
    return f'<details class="card wide"><summary>Provenance and configuration</summary><pre>{said}</pre></details>'
