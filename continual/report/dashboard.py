"""Pages of figures: of one run, which each run leaves, and of several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from continual.files import write_atomic
from continual.report import overview
from continual.report.grid import numbered
from continual.report.overview import Entry
from continual.report.page import page
from continual.report.part import Part, part
from continual.report.record import Record
from continual.report.scan import Skipped
from continual.report.setups import streams


def write(record: Record, path: Path) -> None:
    """``render`` to a file: all of it or the old one."""
    write_atomic(path, render(record).encode("utf-8"))


def render(record: Record) -> str:
    """The page of one run. Deterministic: one record, one page."""
    body, island = part(record)
    islands = {"record": record.model_dump(mode="json"), "run-0": island}
    return page(
        f"{record.stream} · {record.strategy} · {record.method}", f'<div class="part" id="one">{body}</div>', islands
    )


def render_all(
    records: Sequence[Record],
    skipped: Sequence[Skipped] = (),
    version: str = "",
    draw: Callable[[Record], Part] = part,
) -> str:
    """The page of several runs. The body of each waits in a template and its data in an island until it is picked.

    version  of a live page (``page.py``)
    draw     ``part``, or one that remembers what it drew
    """
    pairs = enumerate(zip(keys(records), records, strict=True))
    entries = [Entry(f"run-{number}", key, record) for number, (key, record) in pairs]
    where = {id(entry.record): entry for entry in entries}
    by_stream = {name: [where[id(run)] for run in runs] for name, runs in streams(records).items()}
    parts = {entry.part: draw(entry.record) for entry in entries}
    parts |= {f"stream-{number}": overview.over(runs) for number, runs in enumerate(by_stream.values())}
    body = [overview.heading(entries, by_stream, skipped)]
    if entries:
        body += [overview.stream_picker(by_stream), '<div class="part" id="overview"></div>']
        body += [overview.picker(by_stream), overview.DIFFERENCE, '<div class="part" id="one"></div>']
    body += [overview.left_out(skipped)]
    body += [f'<template id="body-{name}">{found.body}</template>' for name, found in parts.items()]
    return page("Runs of continual", "\n".join(body), {name: found.island for name, found in parts.items()}, version)


def keys(records: Sequence[Record]) -> list[str]:
    """What each run is picked by: its id; of several with one id, the later ones are numbered."""
    return numbered(record.id for record in records)
