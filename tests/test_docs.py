"""README and ARCHITECTURE are true: their code runs, their commands compose, their files and links are there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import continual
from continual.task_streams import quickstart, toy
from tests import running

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PAGES = [path.name for path in sorted(ROOT.glob("*.md"))]
MODULES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "continual").rglob("*.py"))]


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def commands() -> list[str]:
    """Every ``continual run …`` of the README, in blocks and between backticks."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    inline = re.findall(r"`(continual run[^`…]*)`", README)
    return sorted({line for line in [*lines, *inline] if line.startswith("continual run")})


def jobs(arguments: list[str]) -> Iterator[list[str]]:
    """The overrides of each job of a multirun; of the one job without -m."""
    overrides = [argument for argument in arguments if not argument.startswith("-") and argument != "job"]
    if "-m" not in arguments:
        yield overrides
        return
    for batch in BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(overrides), None):
        yield from map(list, batch)


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_composes(command):
    OmegaConf.register_new_resolver("uid", lambda: "uid", replace=True)
    with initialize_config_module("continual.conf", version_base="1.3"):
        for overrides in jobs(shlex.split(command)[2:]):
            assert "_target_" in compose("run", overrides=overrides)["stream"]


def test_the_snippet_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """With a tiny encoder and the toy stream in the places of the real ones."""
    [snippet] = blocks("python")
    assert len(snippet.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(continual, "load", lambda name, **options: running.encoder(), raising=False)
    monkeypatch.setattr(quickstart, "tasks", lambda: toy.tasks(**running.SIZES))
    exec(compile(snippet, "README.md", "exec"), {"__name__": "readme"})
    assert "Backward transfer" in (shown := capsys.readouterr().out)
    assert shown.splitlines()[-1] == "0.0"
    assert len(list(tmp_path.glob("runs/*/dashboard.html"))) == 1


@pytest.mark.real
def test_the_snippet_of_the_readme_is_the_main_job(monkeypatch):
    """The same run_id: what the one has finished, the other returns."""
    from continual.build import build
    from continual.errors import ContinualError

    seen = []
    monkeypatch.setattr(continual, "run_stream", lambda parts: seen.append(parts.run_id), raising=False)
    [snippet] = blocks("python")
    try:
        exec(snippet.partition("continual.show")[0], {})
        with initialize_config_module("continual.conf", version_base="1.3"):
            assert seen == [build(compose("run")).run_id]
    except ContinualError as error:
        pytest.skip(f"the encoder or the corpora are not at hand: {error}")


def test_the_example_of_the_readme_with_two_files_runs(tmp_path):
    files = blocks("csv")
    [line] = [command for command in commands() if "desk.csv,tone.csv" in command]
    names = re.findall(r"`(\w+\.csv)`:\n\n```csv", README)
    assert names == ["desk.csv", "tone.csv"]
    for name, text in zip(names, files, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    encoder = running.saved_encoder(tmp_path / "encoder")
    done = running.command(tmp_path, *shlex.split(line)[1:], f"encoder.name={encoder}", "threads=1")
    assert done.returncode == 0, done.stderr
    assert "after tone" in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_of_a_page_resolves(page):
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_the_map_names_every_module_and_nothing_else():
    named = set(re.findall(r"^    ((?:[\w.]+/)*[\w.]+)  +\S", ARCHITECTURE, re.M))
    files = {name for name in named if "." in name or name == "Makefile" or "/" in name}
    assert sorted(set(MODULES) - files) == []
    assert sorted(name for name in files if not (ROOT / name).is_file()) == []


def test_every_file_and_function_that_the_architecture_names_is_there():
    for path, name in re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|yaml))(?::(\w+))?`", ARCHITECTURE):
        assert (ROOT / path).is_file(), path
        if name:
            tree = ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
            defined = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)}
            assert name in defined, f"{path}:{name}"


def test_the_check_of_a_change_finds_the_test_command():
    assert re.search(r"^<!-- ci: .*-->\n```bash\n.*-m pytest\n```$", README, re.M)
