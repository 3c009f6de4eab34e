"""One run as one HTML file: no server, no network, nothing executed but two scripts whose digests the page names."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from continual.files import write_atomic
from continual.metric.base import metrics
from continual.report.figures import FIGURES
from continual.report.grid import MISSING, headline, judged, known, plain, points, routes, title
from continual.report.page import HEADINGS, PAGE, POLICY, SCRIPT, STYLE
from continual.report.record import Certificate, Metric, Module, Record

HALF = 480  # figures that need no more pixels than this stand two in a row on a wide screen


def write(record: Record, path: Path) -> None:
    """``render`` to a file: all of it or the old one."""
    write_atomic(path, render(record).encode("utf-8"))


def render(record: Record) -> str:
    """The page, 4.9 MB of which are plotly.js. Deterministic: one record, one page."""
    shown = {name: figure(record) for name, figure in FIGURES.items()}
    drawn = {f"fig-{name}": json.loads(str(fig.to_json())) for name, fig in shown.items() if isinstance(fig, go.Figure)}
    cards = [_card(name, fig) for name, fig in shown.items()]
    plotly = get_plotlyjs()
    return PAGE.substitute(
        policy=Template(POLICY).substitute(scripts=f"{_digest(plotly)} {_digest(SCRIPT)}"),
        title=_text(f"{record.stream} · {record.strategy} · {record.method}"),
        style=STYLE,
        body="\n".join(
            [_header(record), _tiles(record), *cards, _routing(record), _modules(record), _provenance(record)]
        ),
        record=_island(record.model_dump(mode="json")),
        figures=_island(drawn),
        plotly=plotly,
        script=SCRIPT,
    )


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _island(value: Any) -> str:
    """JSON that cannot end its script element: in JSON, < only occurs inside strings, where an escape says the same."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _text(value: object) -> str:
    return escape(plain(str(value)))


def _header(record: Record) -> str:
    encoder = record.encoder
    good = record.status == "finished"
    facts = {
        "Run": record.id,
        "Date": record.created.replace("T", " "),
        "Seed": record.seed,
        "Encoder": f"{encoder.name}, {encoder.layers} layers, {encoder.parameters / 1e6:.1f} M parameters",
        "Tasks": len(record.tasks),
        "Time": f"{record.seconds:.1f} s",
        "Units evaluated": f"{record.forwarded_rows:,}",
        "Peak memory": f"{record.peak_memory_bytes / 1e6:,.0f} MB",
        "Encoder after the run": "unchanged" if record.encoder_unchanged else "changed",
        "Stored modules": "unchanged" if record.modules_unchanged else "changed",
        "Isolation": _isolation(record.certificate),
    }
    listed = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())
    return f"""<header>
<span class="pill{"" if good else " bad"}">{_text(record.status)}</span>
<h1>{_text(record.stream)}</h1>
<p class="lead">{_text(record.strategy)} · {_text(record.method)} · {_text(encoder.name)} · seed {record.seed}</p>
{_known(record)}<dl>{listed}</dl>
{_warnings(record)}
</header>"""


def _isolation(certificate: Certificate | None) -> str:
    if certificate is None:
        return "not certified"
    answers = f", answers on {certificate.rows} rows of each task too" if certificate.rows else ""
    return f"{certificate.comparisons} comparisons bit for bit{answers}"


def _known(record: Record) -> str:
    return "" if record.scenario == "task" else f"<p>{_text(known(record))}</p>\n"


def _warnings(record: Record) -> str:
    found = [f"{module.name} diverged: {module.why}" for module in record.modules if module.status == "diverged"]
    if not record.encoder_unchanged:
        found.append("The encoder changed during the run: do not trust these scores.")
    if not record.modules_unchanged:
        found.append("Stored modules changed during the run: do not trust these scores.")
    items = "".join(f"<li>{_text(text)}</li>" for text in [*found, *record.warnings])
    return f'<ul class="warnings">{items}</ul>' if items else ""


def _tiles(record: Record) -> str:
    tiles, over = "".join(_tile(name, metric) for name, metric in headline(record)), judged(record)
    said = over and f'<p class="says">Metrics are {_text(over)}.</p>'
    return f'{said}<div class="tiles wide">{tiles}</div>'


def _tile(name: str, metric: Metric) -> str:
    """The formula is said only if the value was made by the version that this code has."""
    known = metrics().get(name)
    says = known.says if known and known.definition == metric.definition else ""
    lack = f"{metric.missing} cell{'s' * (metric.missing != 1)} missing, left out" if metric.missing else ""
    return (
        f'<div class="tile"><span class="soft">{_text(title(name))}</span><b>{points(metric.value)}</b>'
        f'<p class="says">{_text(says)}</p><span class="lack">{lack}</span>'
        f"<code>{_text(metric.definition)}</code></div>"
    )


def _card(name: str, shown: go.Figure | str) -> str:
    heading, says = HEADINGS[name]
    if isinstance(shown, str):
        return f'<section class="card"><h2>{heading}</h2><p class="absent" id="fig-{name}">{_text(shown)}</p></section>'
    least = shown.layout.meta["least"]
    wide = " wide" if least > HALF else ""
    return f"""<section class="card{wide}"><h2>{heading}</h2><p class="says">{says}</p>
<div class="scroll"><div id="fig-{name}" role="img" aria-label="{heading}" style="min-width:{least}px"></div></div>
</section>"""


def _routing(record: Record) -> str:
    """Nothing where the task of every row was given."""
    if record.routing is None:
        return ""
    heads = '<th>rows of</th><th class="n">route</th><th class="n">answer</th><th class="n">answer, task given</th>'
    lines = "\n".join(
        f'<tr><td class="name">{_text(name)}</td><td class="n">{points(row.route)}</td>'
        f'<td class="n">{points(row.total)}</td><td class="n">{points(row.oracle)}</td></tr>'
        for name, row in routes(record)
    )
    table = f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
    says = f"Router {_text(record.routing.router)}, in % of test rows: sent to their own task, and answered right."
    return f'<section class="card wide" id="routing"><h2>Task not given</h2><p class="says">{says}</p>{table}</section>'


def _modules(record: Record) -> str:
    heads = '<th>module</th><th>kind</th><th>digest</th><th class="n">trained parameters</th>'
    heads += '<th class="n">bytes</th><th class="n">seconds</th><th class="n">valid, %</th>'
    lines = "\n".join(_module(module) for module in record.modules)
    table = f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
    none = '<p class="absent">This run stored no module.</p>'
    return f'<section class="card wide" id="modules"><h2>Modules</h2>{table if record.modules else none}</section>'


def _module(module: Module) -> str:
    valid = "diverged" if module.status == "diverged" else points(module.valid_score)
    kind = module.kind if module.kind == module.method else f"{module.method} {module.kind}"
    return (
        f'<tr><td class="name">{_text(module.name)} @ {module.version}</td><td>{_text(kind)}</td>'
        f'<td><code title="{_text(module.digest)}">{_text(module.digest[:12]) or MISSING}</code></td>'
        f'<td class="n">{module.trainable:,}</td><td class="n">{module.bytes:,}</td>'
        f'<td class="n">{module.seconds:.1f}</td><td class="n">{valid}</td></tr>'
    )


def _provenance(record: Record) -> str:
    facts = {
        "code": record.code,
        "stream": record.stream_digest,
        "encoder": {"revision": record.encoder.revision, "fingerprint": record.encoder.fingerprint},
        "versions": record.versions,
        "tasks": {task.name: task.source for task in record.tasks},
        "config": record.config,
    }
    text = escape(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    return f'<details class="card wide"><summary>Provenance and configuration</summary><pre>{text}</pre></details>'
