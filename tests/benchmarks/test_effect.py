"""Whether composing helps is measured on rows that nothing else has seen, and the page says what the records say."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from continual.stream.base import Example, Task
from continual.task_streams import toy
from tests import tiny

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "composition"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def script() -> Iterator[Callable[[str], ModuleType]]:
    """The folder's scripts import each other by their bare names."""
    before = list(sys.path)
    sys.path.insert(0, str(HERE))
    names = {path.stem for path in HERE.glob("effect*.py")} | {"sarcasm"}
    yield importlib.import_module
    sys.path[:] = before
    for name in names:
        sys.modules.pop(name, None)


def rows(count: int, salt: str = "", labels: int = 2) -> list[Example]:
    return [Example(f"{toy.WORDS[i % labels]} {salt} {i}", i % labels) for i in range(count)]


def task(name: str, **parts: Any) -> Task:
    filled = {"train": rows(64, name), "valid": rows(8, f"{name} v"), "test": rows(16, f"{name} t"), **parts}
    return Task(name, ("0", "1"), **filled)


def entry(**scores: tuple[float, float]) -> dict[str, Any]:
    """(validation, test) of each variant."""
    return {name: {"valid": {"accuracy": v}, "test": {"accuracy": t}} for name, (v, t) in scores.items()}


def record(what: str, target: str, entries: dict[str, Any], **setting: Any) -> dict[str, Any]:
    said = {"target": target, "score": "accuracy", "weights": "F32", "max_length": 128, "batch": 32, "epochs": 20}
    machine = {"device": "CPU", "versions": {"torch": "2"}}
    return {"setting": {**said, "source_epochs": 5, **setting}, "machine": machine, "rows": entries}


def test_few_rows_are_disjoint_stratified_and_nested(script) -> None:
    whole = task("target", train=rows(400), valid=())
    small, large = (script("effect_rows").few(whole, n, seed=3) for n in (20, 100))
    for made, n in ((small, 20), (large, 100)):
        texts = [row.text for part in made.splits.values() for row in part]
        assert len(set(texts)) == len(texts) == n + n + 16
        assert [row.label for row in made.train].count(1) == n // 2
    assert set(small.train) < set(large.train)
    assert set(small.train) != set(script("effect_rows").few(whole, 20, seed=4).train)


def test_few_validates_on_what_the_pool_has_left(script) -> None:
    made = script("effect_rows").few(task("target", train=rows(50), valid=()), 40, seed=0)
    assert (len(made.train), len(made.valid)) == (40, 8)


def test_few_refuses_a_test_row_among_those_to_train(script) -> None:
    leaky = task("target", train=rows(50), test=[*rows(8), *rows(8, "other")])
    with pytest.raises(ValueError, match="test texts are also in train"):
        script("effect_rows").few(leaky, 40, seed=0)


def test_equal_texts_are_equal_however_they_are_spaced(script) -> None:
    key = script("effect_data").key
    assert key("It 's GOOD , is n't it ?") == key("it's good, isn't it?") != key("it's bad, isn't it?")
    assert key(("a b", "c")) != key(("a", "b c"))
    assert key("?!") != key("!!")


def test_a_pack_is_read_as_it_was_written(script, tmp_path: Path) -> None:
    data = script("effect_rows")
    pairs = replace(task("qqp"), train=[Example(("a", "b"), 0), Example(("c", "d"), 1)])
    number = Task("formality", (), [Example("a", 0.5)], [Example("b", 0.25)], (), head="regress")
    pack = data.Pack({"qqp": pairs, "formality": number}, {"cola": replace(task("cola"), score="matthews")})
    data.write(pack, tmp_path / "one.gz")
    data.write(data.read(tmp_path / "one.gz"), tmp_path / "two.gz")
    assert data.read(tmp_path / "one.gz").digest == pack.digest
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


@pytest.mark.skipif(not DATA.is_dir(), reason="the real sets are not beside the checkout")
def test_no_target_row_is_in_a_source_or_twice_in_a_target(script, monkeypatch: pytest.MonkeyPatch) -> None:
    data, texts = script("effect_data"), script("effect_texts")
    cr = texts.TARGETS["cr"](DATA).train
    leak = {**texts.SOURCES, "sst-2": lambda folder: texts.Raw([*texts.SOURCES["sst-2"](folder).train, *cr])}
    monkeypatch.setattr(data, "SOURCES", leak)
    pack = data.make(DATA, ["sst-2", "qqp", "mnli", "formality"], ["cr", "mrpc"])
    for target in pack.targets.values():
        keys = [data.key(row.text) for part in target.splits.values() for row in part]
        assert len(set(keys)) == len(keys)
        for source in pack.sources.values():
            assert not {data.key(row.text) for row in [*source.train, *source.valid]} & set(keys)
    pairs = [*pack.sources["qqp"].train, *pack.sources["mnli"].train]
    assert all(isinstance(row.text, tuple) and all(row.text) and "sentence" not in row.text[0][:5] for row in pairs)


@pytest.fixture
def small(script, tmp_path: Path) -> list[str]:
    """Arguments: a tiny encoder's folder, a pack of few rows, and where things go."""
    effect, data = script("effect"), script("effect_rows")
    tiny.model("bert").save_pretrained(tmp_path / "encoder")
    tiny.tokenizer(toy.WORDS).save_pretrained(tmp_path / "encoder")
    sources = {name: task(name) for name in effect.FAMILY}
    sources["formality"] = Task(
        "formality",
        (),
        [Example(w, 0.5) for w in "abcdefgh"],
        [Example("i", 0.1), Example("j", 0.9)],
        (),
        head="regress",
    )
    sources["mnli"] = task("mnli")
    targets = {"isarcasm": replace(task("isarcasm"), score="macro_f1"), "cr": task("cr"), "rte": task("rte")}
    data.write(data.Pack(sources, targets), tmp_path / "pack.gz")
    places = ["--encoder", tmp_path / "encoder", "--store", tmp_path / "store", "--records", tmp_path / "records"]
    short = ["--rows", "8", "--seeds", "0", "1", "--epochs", "1", "--source-epochs", "1"]
    return [*map(str, ["--packed", tmp_path / "pack.gz", *places]), *short]


def test_fusion_is_measured_end_to_end_and_what_is_there_is_kept(script, small, tmp_path, monkeypatch, capsys) -> None:
    effect = script("effect")
    monkeypatch.setattr(sys, "argv", ["effect.py", "fusion", *small, "--targets", "cr", "isarcasm"])
    effect.main()
    path = tmp_path / "records" / "effect-fusion-isarcasm.json"
    first = path.read_bytes()
    made = json.loads(first)["rows"]["8/1"]
    assert set(made) == {"code", "device", "head", "single", "own", "sources", "textbook", "textbook-own"}
    assert made["own"]["members"] == [*effect.FAMILY, "isarcasm"]
    assert set(made["own"]["attention"]) == {"0/ffn_norm", "1/ffn_norm"}
    for weights in made["textbook"]["attention"].values():
        assert len(weights) == 3
        assert sum(weights) == pytest.approx(1, abs=1e-3)
    assert set(made["own"]["test"]) == {"accuracy", "macro_f1"}
    effect.main()
    assert path.read_bytes() == first
    assert capsys.readouterr().out.count("source formality") == 1
    text = "\n".join(script("effect_report").section(tmp_path / "records"))
    assert "| cr | accuracy | 8 |" in text
    assert "| isarcasm | macro f1 | 8 |" in text
    assert "| layer | sst-2 | formality | agnews | isarcasm |" in text


def test_entailment_is_fused_from_entailment_and_paraphrase(script, small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["effect.py", "nli", *small, "--targets", "rte", "--regularizer", "0.5"])
    script("effect").main()
    made = json.loads((tmp_path / "records" / "effect-nli-rte.json").read_text())
    assert made["rows"]["8/0"]["own"]["members"] == ["mnli", "qqp", "rte"]
    assert made["setting"]["regularizer"] == 0.5


def test_the_bundle_is_measured_beside_its_parts(script, small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["effect.py", "unipelt", *small, "--targets", "cr"])
    script("effect").main()
    made = json.loads((tmp_path / "records" / "effect-unipelt-cr.json").read_text())["rows"]["8/0"]
    assert set(made) == {"code", "device", "bundle", "bottleneck", "prefix", "lora"}
    assert "| cr | accuracy | 8 |" in "\n".join(script("effect_report").section(tmp_path / "records"))


def test_the_choice_is_made_on_validation_rows_and_ties_go_to_the_single_module(script) -> None:
    entries = {
        "100/0": entry(head=(0, 0), single=(0.8, 0.70), own=(0.8, 0.9), sources=(0.7, 0.95)),
        "100/1": entry(head=(0, 0), single=(0.8, 0.70), own=(0.7, 0.9), sources=(0.9, 0.60)),
    }
    [cell] = script("effect_report").cells(record("fusion", "cr", entries), ("head", "single", "own", "sources"))
    assert cell.values["chosen"] == pytest.approx([70, 60])
    assert cell.gain("own") == pytest.approx([20, 20])


def test_an_interval_of_seeds_holds_their_mean_and_is_as_wide_as_they_differ(script) -> None:
    interval = script("effect_report").interval
    low, high = interval([0.0, 1.0, 2.0, 3.0, 4.0])
    assert 0 <= low < 2 < high <= 4
    assert high - low == pytest.approx(2 * 1.96 * 2**0.5 / 5**0.5, rel=0.15)  # the resamples' own deviation
    assert interval([1.5] * 5) == (1.5, 1.5)


def test_the_bundle_is_held_against_the_part_that_is_best_on_average(script, tmp_path: Path) -> None:
    parts = {"cr": (0.9, 0.5, 0.7), "subj": (0.5, 0.8, 0.8)}
    for target, (bottleneck, prefix, lora) in parts.items():
        entries = {"100/0": entry(bundle=(0, 0.8), bottleneck=(0, bottleneck), prefix=(0, prefix), lora=(0, lora))}
        made = record("unipelt", target, entries, bundle="unipelt", lr={"bundle": 0.003})
        (tmp_path / f"effect-unipelt-{target}.json").write_text(json.dumps(made))
    [line] = [line for line in script("effect_report").section(tmp_path) if line.startswith("- 100 rows")]
    assert "best part lora 75.0" in line
    assert "gain +5.0" in line
    assert line.endswith("85.0")


def test_without_records_the_page_has_no_section(script, tmp_path: Path) -> None:
    assert script("effect_report").section(tmp_path) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="the real sets are not beside the checkout")
def test_the_tables_of_sarcasm_are_a_stream(script, tmp_path: Path) -> None:
    from continual.stream.base import Stream
    from continual.stream.lint import check
    from continual.task_streams import csv

    files = script("sarcasm").tables(DATA, tmp_path, rows=60, source_rows=50)
    full = {name: {part: str(tmp_path / file) for part, file in parts.items()} for name, parts in files}
    tasks = csv.tasks(full, score="macro_f1")
    assert check(Stream("csv", tuple(tasks))) == []
    assert {t.name: len(t.train) for t in tasks} == {"sentiment": 50, "formality": 50, "topic": 50, "sarcasm": 60}


def test_a_pack_is_small_json(script, tmp_path: Path) -> None:
    data = script("effect_rows")
    data.write(data.Pack({}, {"cr": task("cr")}), tmp_path / "pack.gz")
    assert set(json.loads(gzip.decompress((tmp_path / "pack.gz").read_bytes()))) == {"sources", "targets"}


def test_what_nothing_learns_is_said_and_left_out_of_a_second_mean(script, tmp_path: Path) -> None:
    for target, single, own in (("cr", 0.80, 0.84), ("mrpc", 0.60, 0.58)):
        entries = {"100/0": entry(head=(0, 0.5), single=(0.5, single), own=(0.6, own), sources=(0.1, 0.5))}
        made = record("fusion", target, entries, encoder="minilm", majority=0.66, fusion_lr=3e-4, regularizer=0.01)
        (tmp_path / f"effect-fusion-{target}.json").write_text(json.dumps(made))
    lines = script("effect_report").section(tmp_path)
    assert any("on related targets (cr, mrpc) +1.0" in line for line in lines)
    assert any("learned at all (cr) +4.0" in line for line in lines)
    assert any(line.startswith("- mrpc at 100 rows is not learned") for line in lines)
    assert any("1 of 2 cells" in line for line in lines if "the chosen's worst: mrpc" in line)


def test_what_pruning_loses_and_what_was_tried_are_tables(script, tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    for folder, own, epochs in ((tmp_path, 0.84, 0), (tried / "reg-0", 0.86, 0), (tried / "prune-5", 0.83, 5)):
        folder.mkdir(parents=True, exist_ok=True)
        for target in ("cr", "mpqa", "mrpc"):
            made = entry(head=(0, 0.5), single=(0.5, 0.8), own=(0.6, own), sources=(0.1, 0.5))
            for variant, score in (("own", 0.83), ("sources", 0.5)):
                made[variant]["pruned"] = {"test": {"accuracy": score}}
            said = record("fusion", target, {"100/0": made}, fusion_lr=3e-4, regularizer=0.01, prune_epochs=epochs)
            (folder / f"effect-fusion-{target}.json").write_text(json.dumps(said))
    lines = script("effect_tried").section(tmp_path)
    assert any("| cr | accuracy | 100 | 0 epochs | -1.0 (-1.0 to -1.0) | +0.0" in line for line in lines)
    assert any("for 0 epochs: sources + own: mean -1.00, 3 of 3 lose more" in line for line in lines)
    assert any("for 5 epochs: sources + own: mean +0.00, 0 of 3 lose more" in line for line in lines)
    assert any(line.startswith("| reg-0 | 0.0003 | 0.01 | 20 | +6.0") for line in lines)
    assert not any(line.startswith("| prune-5") for line in lines)
    assert script("effect_tried").section(tmp_path / "nothing") == []
