"""How long a page of many runs takes to be made and to open in a browser.

    python benchmarks/dash/run.py [--times 7]     records/cpu.json; needs Chromium on PATH, and playwright

100 runs of 15 tasks, whose numbers are made up, in a new browser process each time: nothing is in a cache. Times are
from the command to open the file: ``loaded`` until the page can be used, ``drawn`` until all figures are there, those
over all runs and those of the run that is shown. ``picked``: from the choice of another run until its are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import plotly
from playwright.sync_api import Page, sync_playwright

from continual.files import write_json
from continual.report.dashboard import render_all
from continual.report.record import CellFacts, Record, load

HERE = Path(__file__).resolve().parent
BASE = HERE.parent / "quickstart" / "records" / "cpu.json"
RUNS, TASKS = 100, 15
STRATEGIES = ("isolated", "sequential", "replay", "ewc")


def made_up(number: int, tasks: int = TASKS) -> Record:
    """A run of the quickstart, stretched to more tasks, with a module and a column of attention for each of them."""
    base = load(BASE)
    named = [base.tasks[task % 4].model_copy(update={"name": f"task-{task}"}) for task in range(tasks)]
    cells = [_cell(base.cells[0], after, task, number) for after in range(-1, tasks) for task in range(tasks)]
    modules = [base.modules[task % 4].model_copy(update={"task": f"task-{task}"}) for task in range(tasks)]
    names, share = [task.name for task in named], 1 / tasks
    weights = [
        weight.model_copy(update={"members": names, "mean": [share] * tasks}) if weight.kind == "attention" else weight
        for weight in base.weights
    ]
    changes = {"id": f"run{number:03}", "seed": number // len(STRATEGIES), "strategy": STRATEGIES[number % 4]}
    found = {"tasks": named, "cells": cells, "modules": modules, "weights": weights}
    return base.model_copy(update={**changes, **found})


def _cell(base: CellFacts, after: int, task: int, number: int) -> CellFacts:
    score = 0.5 + 0.4 * ((7 * task + 3 * after + number) % 11) / 11
    where = {"after": after, "task": task, "stage": "zero" if after < 0 else "learn"}
    how = "own" if task <= after else "ncm"
    return base.model_copy(update={**where, "how": how, "score": score, "low": score - 0.03, "high": score + 0.03})


def opened(path: Path) -> dict[str, float]:
    """Seconds, in a browser that has seen nothing yet."""
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page, start = browser.new_page(), time.perf_counter()
        page.goto(path.as_uri())
        loaded = time.perf_counter() - start
        _drawn(page)
        drawn, start = time.perf_counter() - start, time.perf_counter()
        page.select_option("#run", f"run{RUNS - 1:03}")
        _drawn(page)
        picked = time.perf_counter() - start
        browser.close()
    return {"loaded": loaded, "drawn": drawn, "picked": picked}


def _drawn(page: Page) -> None:
    page.wait_for_selector("html[data-drawn]", state="attached")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7, help="browsers that are started (default: 7)")
    times = parser.parse_args().times
    runs = [made_up(number) for number in range(RUNS)]
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder) / "dashboard.html", time.perf_counter()
        path.write_text(render_all(runs), encoding="utf-8")
        made, size = time.perf_counter() - start, path.stat().st_size
        busy = os.getloadavg()[0]
        found = [opened(path) for _ in range(times)]
    seconds: dict[str, Any] = {
        name: {
            "median": round(median(one[name] for one in found), 2),
            "most": round(max(one[name] for one in found), 2),
        }
        for name in found[0]
    }
    setting = {"runs": RUNS, "tasks": TASKS, "times": times, "cores": os.cpu_count(), "plotly": plotly.__version__}
    record = {"schema": 1, **setting, "load_before": round(busy, 2), "bytes": size, "made": round(made, 2), **seconds}
    write_json(HERE / "records" / "cpu.json", record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
