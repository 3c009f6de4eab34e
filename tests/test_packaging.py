"""What is shipped: every package and every YAML, and a wheel that runs where there is no checkout."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOOL = PROJECT["tool"]["setuptools"]
FOLDERS = {
    ROOT / "continual": "continual",
    ROOT / "conf": "continual.conf",
    ROOT / "task_streams": "continual.task_streams",
}


def test_every_package_is_listed():
    found = {
        ".".join([name, *init.parent.relative_to(folder).parts])
        for folder, name in FOLDERS.items()
        for init in folder.rglob("__init__.py")
    }
    assert sorted(TOOL["packages"]) == sorted([*found, "hydra_plugins"])  # a namespace: it has no __init__.py
    assert not (ROOT / "hydra_plugins" / "__init__.py").exists()


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for folder in FOLDERS for path in folder.rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_every_other_file_is_package_data():
    for folder, name in FOLDERS.items():
        patterns = TOOL["package-data"].get(name, [])
        shipped = {path for pattern in patterns for path in folder.glob(pattern)}
        files = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert sorted(map(str, files - shipped)) == [], f"not matched by package-data of {name}"


def test_every_import_is_a_declared_dependency():
    declared = {_name(line) for line in PROJECT["project"]["dependencies"]}
    providers = packages_distributions()
    used = {name.partition(".")[0] for folder in FOLDERS for path in folder.rglob("*.py") for name in _needed(path)}
    third = {name for name in used if name not in sys.stdlib_module_names and name != "continual"}
    missing = {name for name in third if name in providers and not declared & {_name(d) for d in providers[name]}}
    assert sorted(missing) == []


def _needed(path: Path) -> Iterator[str]:
    """What a file imports, inside functions too; but for what it knows how to do without, or how to ask for."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Try) and any(
            "ModuleNotFoundError" in ast.unparse(h.type) for h in node.handlers if h.type
        ):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        nodes += ast.iter_child_nodes(node)


def test_every_dependency_has_a_tested_version():
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    pinned = {_name(line) for line in lines}
    assert all(re.fullmatch(r"[a-z0-9._-]+==[a-z0-9.]+", line) for line in lines), "no local tags, exact versions"
    wanted = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    assert sorted({_name(line) for line in chain.from_iterable(wanted)} - pinned) == []


def test_every_indirect_dependency_has_a_tested_version_too():
    """Of those that this platform has: what the distribution asks for here, and what that asks for, to the end."""
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    seen, waiting = set(), [("continual-adapters", "dev")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for requirement in map(Requirement, requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(_name(requirement.name), each) for each in ("", *requirement.extras)]
    own = re.compile(r"continual-adapters|triton|nvidia-.*|cuda-.*")  # torch names the exact versions of its parts
    assert sorted({name for name, _ in seen if name not in pinned and not own.fullmatch(name)}) == []


@pytest.mark.slow
def test_the_wheel_runs_from_an_empty_folder(tmp_path):
    source, unpacked, empty = tmp_path / "source", tmp_path / "unpacked", tmp_path / "empty"
    _copy(source)
    empty.mkdir()
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, source, cwd=tmp_path)
    [wheel], [sdist] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        shipped = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "README.md",
        "constraints.txt",
        "conf/run.yaml",
        "task_streams/toy.py",
        "tests/tiny.py",
    } <= shipped
    with zipfile.ZipFile(wheel) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {
            "continual",
            "hydra_plugins",
            f"{wheel.name[:24]}.dist-info",
        }
        archive.extractall(unpacked)
    # Isolated from the checkout: an editable install registers a finder, which PYTHONPATH comes before.
    env = {**os.environ, "PYTHONPATH": str(unpacked)}
    where = _run(sys.executable, "-c", "import continual.conf; print(continual.conf.__file__)", cwd=empty, env=env)
    assert where.startswith(str(unpacked))
    shown = _run(sys.executable, "-m", "continual", "run", "--cfg", "job", cwd=empty, env=env)
    assert "_target_: continual.task_streams.quickstart.tasks" in shown
    plugins = _run(sys.executable, "-m", "continual", "run", "--info", "plugins", cwd=empty, env=env)
    assert "GroupedLauncher" in plugins
    assert list(empty.iterdir()) == []


def _copy(target: Path) -> None:
    """The checkout as git sees it, or as it lies where it is no checkout (an unpacked sdist)."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.splitlines() or [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()]
    for name in names:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())


def _run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _name(requirement: str) -> str:
    """Normalised name of a distribution."""
    return canonicalize_name(re.split(r"[\[<>=!~; ]", requirement)[0])
