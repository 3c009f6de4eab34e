"""Sarcasm from sentiment, formality and topic: the field's standard example of fusion, as a run of your own tables.

    python benchmarks/composition/sarcasm.py --data FOLDER [--folder runs/sarcasm] [method=lora …]

Writes four tables into a folder and runs ``continual run stream=csv`` on them, with what else is given as further
settings. The run learns a module each for sentiment (SST-2), formality (Pavlick and Tetreault, "formal" from 0.5 on),
topic (AG News) and sarcasm (iSarcasm), then fuses all four for sarcasm. Its page, whose address the run says at the
end, draws the attention that it learned, layer by layer. Scores are macro F1: six of seven tweets of the test are
not sarcastic.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from effect_data import make
from effect_rows import few

from continual.stream.base import Rows, Task
from continual.stream.sample import split, subset

NAMES = {"sst-2": "sentiment", "formality": "formality", "agnews": "topic", "isarcasm": "sarcasm"}
SETTINGS = ("stream=csv", "stream.score=macro_f1", "target=sarcasm", "composition=fusion", "trainer.epochs=10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets that are files")
    parser.add_argument("--folder", type=Path, default=Path("runs/sarcasm"), help="where tables, run and modules go")
    parser.add_argument("--rows", type=int, default=300, help="of sarcasm; as many more validate")
    parser.add_argument("--source-rows", type=int, default=1000)
    options, more = parser.parse_known_args()
    files = tables(options.data, options.folder, options.rows, options.source_rows)
    named = ",".join(
        f"{task}:{{{','.join(f'{part}:{file}' for part, file in parts.items())}}}" for task, parts in files
    )
    command = [sys.executable, "-m", "continual", "run", *SETTINGS, f"stream.files={{{named}}}", *more]
    raise SystemExit(subprocess.run(command, cwd=options.folder, check=False).returncode)


def tables(data: Path, folder: Path, rows: int, source_rows: int) -> list[tuple[str, dict[str, str]]]:
    """Task -> part -> file name in ``folder``. A source's test rows are an eighth of what it has."""
    pack = make(data, [name for name in NAMES if name != "isarcasm"], ["isarcasm"])
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for old, new in NAMES.items():
        task = few(pack.targets[old], rows, 0) if old in pack.targets else _tested(pack.sources[old], source_rows)
        parts = {part: f"{new}-{part}.csv" for part in task.splits}
        for part, name in parts.items():
            _write(folder / name, task, task.splits[part])
        files.append((new, parts))
    return files


def _tested(task: Task, most: int) -> Task:
    train, test = split(task.train, 0.125, 0, f"{task.name}/held")
    return Task(task.name, task.labels, subset(train, most, 0, task.name), task.valid, test)


def _write(path: Path, task: Task, rows: Rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("text", "label"))
        for row in rows:
            label = task.labels[row.label] if task.labels else ("informal", "formal")[row.label >= 0.5]
            table.writerow((row.text, label))


if __name__ == "__main__":
    main()
