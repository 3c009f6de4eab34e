"""README, docs and ARCHITECTURE are true: their code runs, their commands compose, their files and links are there."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

import continual
from continual.build import build
from continual.task_streams import quickstart, toy
from tests import hub, running, tiny

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PAGES = [str(path.relative_to(ROOT)) for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")))]
DOCS = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES if page.startswith(("README", "docs/")))
MODULES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "continual").rglob("*.py"))]


def blocks(language: str, page: str = DOCS) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def commands() -> list[str]:
    """Every ``continual run …`` of README and docs, in blocks and between backticks."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    inline = re.findall(r"`(continual run[^`…]*)`", DOCS)
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
def test_a_command_of_the_pages_composes(command):
    with initialize_config_module("continual.conf", version_base="1.3"):
        for overrides in jobs(shlex.split(command)[2:]):
            assert "_target_" in compose("run", overrides=overrides)["stream"]


def test_the_snippet_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """With a tiny encoder and the toy stream in the places of the real ones."""
    [snippet] = blocks("python", README)
    assert len(snippet.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(continual, "load", lambda name, **options: running.encoder(), raising=False)
    monkeypatch.setattr(quickstart, "tasks", lambda: toy.tasks(**running.SIZES))
    exec(compile(snippet, "README.md", "exec"), {"__name__": "readme"})
    assert "Backward transfer" in (shown := capsys.readouterr().out)
    assert shown.splitlines()[-1] == "0.0"
    assert len(list(tmp_path.glob("runs/*/dashboard.html"))) == 1


def test_the_merging_of_the_pages_runs(tmp_path, monkeypatch):
    [snippet] = blocks("python", (ROOT / "docs/methods.md").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(continual, "load", lambda name, **options: running.encoder(), raising=False)
    exec(compile(snippet, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.real
def test_the_snippet_of_the_readme_is_the_main_job(monkeypatch):
    """The same run_id: what the one has finished, the other returns."""
    from continual.errors import ContinualError

    seen = []
    monkeypatch.setattr(continual, "run_stream", lambda parts: seen.append(parts.run_id), raising=False)
    [snippet] = blocks("python", README)
    try:
        exec(snippet.partition("continual.show")[0], {})
        with initialize_config_module("continual.conf", version_base="1.3"):
            assert seen == [build(compose("run")).run_id]
    except ContinualError as error:
        pytest.skip(f"the encoder or the corpora are not at hand: {error}")


@pytest.mark.parametrize("command", [c for c in commands() if re.search("stream=(csv|conll|squad|images|hub)", c)])
def test_a_command_of_the_pages_with_files_of_ones_own_runs(command, tmp_path, monkeypatch):
    own_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTINUAL_DATA", "data")
    monkeypatch.setenv("CONTINUAL_CACHE", "cache")
    overrides = ["encoder.name=encoder", *shlex.split(command)[2:], "composition=[]", "trainer.epochs=1", "threads=1"]
    with initialize_config_module("continual.conf", version_base="1.3"):
        record = continual.run_stream(build(compose("run", [*overrides, "quiet=true"])))
    assert (record.status, record.stream) == ("finished", overrides[1].partition("=")[2])
    assert all(module.status == "ok" for module in record.modules)


def test_the_stream_of_the_pages_that_is_a_file_of_ones_own_runs(command, tmp_path, monkeypatch):
    own_files(tmp_path)
    monkeypatch.setenv("CONTINUAL_DATA", "data")
    monkeypatch.setenv("CONTINUAL_CACHE", "cache")
    [text] = blocks("yaml", (ROOT / "docs/streams.md").read_text(encoding="utf-8"))
    path, line = re.findall(r"^# (\S+), for: continual (.*)$", text, re.M)[0]
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text, encoding="utf-8")
    small = ["encoder.name=encoder", "composition=[]", "trainer.epochs=1", "threads=1"]
    ended = command(*shlex.split(line), *small)
    assert ended.code == 0, ended.err
    [record] = map(json.loads, (path.read_text() for path in tmp_path.glob("runs/*/run.json")))
    assert [task["name"] for task in record["tasks"]] == ["grammar", "feeling"]


def own_files(root: Path) -> None:
    """The files and encoders that the pages speak of, in small."""
    one, two, three = toy.WORDS[:3]
    for name in ("desk", "tone"):
        rows = [f"{word} {name} {i},{label}" for i in range(10) for label, word in enumerate((one, two))]
        (root / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    rows = [f"{one} {i}\t{two} {i % 3}\t{i % 3}" for i in range(20)]
    (root / "alike.tsv").write_text("\n".join(["first\tsecond\tdegree", *rows]))
    for name in ("train.txt", "test.txt"):
        (root / name).write_text("".join(f"{one} O\n{two} B-X\n{name}{i} O\n\n" for i in range(20)))
    answers = [{"answer_start": 0, "text": one}]
    articles = [
        {"paragraphs": [{"context": f"{one} {two} {i}", "qas": [{"question": three, "answers": answers}]}]}
        for i in range(20)
    ]
    (root / "wiki.json").write_text(json.dumps({"data": articles}))
    for split in ("train", "validation", "test"):
        rows = hub.columns(20, f"{one} {split}")
        hub.parquet(root / f"data/cardiffnlp/tweet_eval/irony/{split}.parquet", rows)
        for number, config in enumerate(("cola", "sst2")):
            named = {"sentence": [f"{text} {number}" for text in rows["text"]], "label": rows["label"]}
            hub.parquet(root / f"data/nyu-mll/glue/{config}/{split}-00000-of-00001.parquet", named)
    hub.card(root / "data/nyu-mll/glue", "cola", "sst2")
    for number in range(20):
        folder = root / "animals" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.ppm").write_bytes(b"P6 2 2 255\n" + bytes([12 * number] * 12))
    shutil.make_archive(str(root / "plants"), "zip", root / "animals")
    running.saved_encoder(root / "encoder")
    tiny.model("vit").save_pretrained(root / "models" / "my-vit")
    tiny.processor().save_pretrained(root / "models" / "my-vit")


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_of_a_page_resolves(page):
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    folder = (ROOT / page).parent
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


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
    assert re.search(r"^<!-- ci: .*-->\n```bash\n.*-m pytest -n 2\n```$", README, re.M)
