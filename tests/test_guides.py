"""The guides run as they are printed.

Each runs in an empty folder, block by block: ``bash`` and ``python`` as they stand, and what comes after "Put this into
`file`:" is put into that file. No command is changed. The default encoder and corpora are those of a mirror in small
(``mirrored.py``). A ``text`` block is what the block before it prints: each of its lines is in the output, in order,
where all numbers count as equal, and … stands for anything. ``RUN`` in a command stands for a run's folder.
"""

from __future__ import annotations

import glob
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from continual.report.scan import scan
from continual.task_streams import quickstart
from tests import mirrored, running
from tests.guide import Typed, apart, follow
from tests.mirrored import put

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "guides"
GUIDES = sorted(FOLDER.glob("*.md"))
CLONE = "new-method"
"""The guide that begins in a clone of the repository, and runs in processes of its own."""
TABLE = re.compile(r"^<!-- test: (benchmarks/\S+) -->\n\n((?:^\|.*\n)+)", re.M)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mirrored.made(tmp_path_factory.mktemp("mirror"))


@pytest.fixture
def small(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever asks for the default encoder or stream gets the mirror's; and no other test does."""
    monkeypatch.setenv("CONTINUAL_DATA", str(mirror))
    quickstart._corpus.cache_clear()
    yield
    quickstart._corpus.cache_clear()


@pytest.fixture
def typed(command: Callable[..., running.Ended]) -> Typed:
    """A line as a shell takes it; ``continual`` in this process."""

    def line(text: str) -> running.Ended:
        name, *words = shlex.split(text)
        if name != "continual":
            return apart(text, Path.cwd())
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
