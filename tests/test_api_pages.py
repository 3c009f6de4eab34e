"""The API reference is what the docstrings say, and its links lead to what they name."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """Those of docs/, which import each other by their bare names."""
    names = ("prose", "source")
    sys.path.insert(0, str(ROOT / "docs"))
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(ROOT / "docs"))
    for name in names:
        del sys.modules[name]


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "docs/make.py", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)


def test_the_pages_are_what_the_docstrings_say() -> None:
    """If not: ``make docs``, or python docs/make.py."""
    checked = make(ROOT, "--check")
    assert (checked.returncode, checked.stdout) == (0, "docs/api is up to date\n"), checked.stderr


def test_a_page_is_stale_when_a_docstring_changes_and_making_it_again_mends_that(tmp_path: Path) -> None:
    for name in ("continual", "task_streams", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "conf"))
    file = tmp_path / "continual" / "errors.py"
    file.write_text(file.read_text(encoding="utf-8") + '\n\ndef new() -> None:\n    """Something new."""\n')
    (tmp_path / "docs" / "api" / "continual.gone.md").touch()
    checked = make(tmp_path, "--check")
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == [
        "would change docs/api/continual.gone.md",
        "would change docs/api/continual.md",
    ]
    assert make(tmp_path).returncode == 0
    assert make(tmp_path, "--check").returncode == 0
    assert "Something new." in (tmp_path / "docs" / "api" / "continual.md").read_text(encoding="utf-8")


def test_every_link_of_the_reference_leads_to_a_file_and_every_anchor_to_a_heading() -> None:
    for page in API.glob("*.md"):
        prose = re.sub(r"```.*?```|`[^`\n]*`", "code", page.read_text(encoding="utf-8"), flags=re.S)
        for target, anchor in re.findall(r"[^\\]\]\(([\w./-]*)(?:#([\w-]+))?\)", prose):
            target = target or page.name
            assert (API / target).is_file(), f"{page.name}: {target}"
            if anchor:
                titles = re.findall(r"^## \[(.+?)\]", (API / target).read_text(encoding="utf-8"), re.M)
                assert anchor in {re.sub(r"[^\w-]", "", title.lower()) for title in titles}, f"{page.name}: #{anchor}"


def test_every_name_of_the_notebook_is_in_the_reference() -> None:
    import continual

    text = (API / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\[`(\w+)`\]", text, re.M) == dir(continual)


def test_every_public_function_and_class_says_what_it_is(scripts: dict[str, ModuleType]) -> None:
    silent = [
        f"{path.relative_to(ROOT)}: {entry.name}"
        for folder in ("continual", "task_streams")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for entry in scripts["source"].Source(path).entries
        if not entry.says
    ]
    assert silent == []


def test_a_file_gives_its_public_names_with_their_signatures_as_they_stand(
    tmp_path: Path, scripts: dict[str, ModuleType]
) -> None:
    (tmp_path / "a.py").write_text(
        '''"""A module."""
LIMIT = 3
"""At most so many."""
_HIDDEN = 1


@dataclass(frozen=True)
class Thing:
    """A thing."""

    size: int = 1  # in metres
    _own: int = 2

    @property
    def area(self) -> float: ...
    def grow(
        self,
        by: dict[str, int],  # by name: size
    ) -> None:
        """It grows."""
        self.size += 1

    def _shrink(self) -> None: ...
'''
    )
    source = scripts["source"].Source(tmp_path / "a.py")
    limit, thing = source.entries
    assert (source.says, limit.name, limit.code, limit.says) == ("A module.", "LIMIT", "LIMIT = 3", "At most so many.")
    assert thing.methods == (("grow", "It grows."),)
    assert thing.code.splitlines() == [
        "@dataclass(frozen=True)",
        "class Thing",
        "    size: int = 1  # in metres",
        "",
        "    @property",
        "    def area(self) -> float",
        "    def grow(",
        "        self,",
        "        by: dict[str, int],  # by name: size",
        "    ) -> None",
    ]


@pytest.mark.parametrize(
    ("docstring", "wanted"),
    [
        ("The mean of ``x_i``,\n(n, d) -> (d,).", "The mean of `x_i`,\n(n, d) -> (d,)."),
        ("Σ_{i<T-1} a*b of <name>", "Σ\\_{i\\<T-1} a\\*b of \\<name>"),
        ("name   what\nother  ``else``", "```text\nname   what\nother  ``else``\n```"),
        ("Twice.\n\n>>> twice(2)\n4", "Twice.\n\n```python\n>>> twice(2)\n4\n```"),
        ("Type:\n\n    continual run", "Type:\n\n```text\n    continual run\n```"),
    ],
)
def test_a_docstring_becomes_markdown_that_shows_it_as_it_is(
    scripts: dict[str, ModuleType], docstring: str, wanted: str
) -> None:
    assert scripts["prose"].markdown(docstring) == wanted
