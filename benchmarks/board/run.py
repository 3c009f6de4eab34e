"""Make the runs that a board lacks, each a process of its own, then take them in:

    python benchmarks/board/run.py --gpu --jobs 8
    continual board add benchmarks/board/quickstart benchmarks/board/work/runs

A run that is finished is not made again, one that was stopped goes on behind its last task. Until they are taken in,
``work/`` must stay.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from continual.board import rules as of_rules
from continual.board.rules import Job
from continual.board.standings import open_board

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from rows import ROWS, overrides  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", type=Path, default=HERE / "quickstart")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="runs and their modules")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--cards", type=int, default=1, help="GPUs to deal them over")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of every run")
    given = parser.parse_args()
    waiting = missing(given.board, given.work, given.rows)
    print(f"runs that are missing: {len(waiting)}", flush=True)
    rules = of_rules.load(given.board)
    more = [*(["trainer=gpu"] if given.gpu else []), *given.set, "quiet=true", "paths.runs=runs", "paths.store=store"]
    given.work.mkdir(parents=True, exist_ok=True)
    jobs = [(log(given.work, row, job), overrides(rules, row, job, more)) for row, job in waiting]
    cards = [str(number % given.cards) for number in range(len(jobs))]
    with ThreadPoolExecutor(given.jobs) as pool:
        ended = list(pool.map(partial(make, given.work), *zip(*jobs, strict=True), cards)) if jobs else []
    sys.exit(f"{ended.count(False)} runs failed" if not all(ended) else 0)


def missing(board: Path, work: Path, rows: Sequence[str]) -> list[tuple[str, Job]]:
    """The runs of rows that are not whole on the board and of which no run's end is in ``work``."""
    opened = open_board(board)
    there = {standing.row.name for standing in opened.standings}
    wanted = [(row, job) for row in rows if row not in there for job in opened.rules.jobs]
    return [(row, job) for row, job in wanted if not finished(log(work, row, job))]


def log(work: Path, row: str, job: Job) -> Path:
    return work / f"{row}-{job[0]}-{job[1]}.log"


def finished(path: Path) -> bool:
    """A run's last lines name its record; it is still there."""
    if not path.exists():
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = [line.removeprefix("record").strip() for line in lines if line.startswith("record ")]
    return bool(records) and (path.parent / records[-1]).exists()


def make(work: Path, path: Path, arguments: Sequence[str], card: str) -> bool:
    """Paths are relative to ``work``: a record says nothing of the machine."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": card}
    if data := os.environ.get("CONTINUAL_DATA"):
        environment["CONTINUAL_DATA"] = str(Path(data).resolve())
    with path.open("wb") as out:
        command = [sys.executable, "-m", "continual", "run", *arguments]
        code = subprocess.run(command, cwd=work, env=environment, stdout=out, stderr=out, check=False).returncode
    print(f"{path.stem}: {'finished' if code == 0 else f'FAILED, see {path}'}", flush=True)
    return code == 0


if __name__ == "__main__":
    main()
