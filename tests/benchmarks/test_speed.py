"""The page of the speeds is what its records say, and what is timed here computes what its plain form does."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from continual.dealt import Dealt
from continual.encoder.adapted import AdaptedEncoder
from continual.request import Learn, Learned
from continual.store import Store
from continual.trainer import Machine, learn
from tests import running, tiny

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HERE = BENCHMARKS / "speed"
RECORDS = sorted((HERE / "records").glob("*.json"))


@pytest.fixture(scope="module")
def folder():
    """Its scripts, and those of the folders that it uses, import each other by their bare names."""
    places = [BENCHMARKS / name for name in ("speed", "composition", "methods")]
    names = {path.stem for place in places for path in place.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    paths = list(sys.path)
    sys.path.insert(0, str(HERE))
    yield importlib.import_module
    sys.path[:] = paths
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def alone(pairs: int = 2) -> argparse.Namespace:
    """Our side only: no interpreter of a library."""
    return argparse.Namespace(adapters_python=None, pairs=pairs)


def test_the_page_is_generated_from_the_records(folder) -> None:
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == folder("report").render(HERE / "records")


def test_where_a_target_is_missed_the_page_says_why(folder) -> None:
    sections = (HERE / "RESULTS.md").read_text(encoding="utf-8").split("\n## ")[1:]
    missed = [section for section in sections if "**missed**" in section]
    assert missed
    assert all(len(section.rpartition("\n\nMissed: ")[2].strip()) > 50 for section in missed)
    assert all("\n\nMissed: " in section for section in missed)
    assert not any("Missed:" in section for section in sections if section not in missed)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_what_was_timed_agreed_with_the_plain_form(path: Path) -> None:
    most = 0.02 if path.stem.startswith(("grouped", "dealt")) else 1e-4  # of the way of a training; of an answer
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"].values():
        for side in row.get("apart", {}).values():
            assert max(side.values()) < most


@pytest.mark.parametrize("layers", [None, "1-"])
def test_one_module_gives_the_answers_and_gradients_of_its_formula(folder, tmp_path: Path, layers: str | None) -> None:
    one = folder("one").One(tiny.encoder(), layers, 4, 8)
    assert max(one.check(tmp_path).values()) < 1e-5
    assert not torch.allclose(one.pooled(), one.alone(), rtol=1e-3)
    assert set(one.adapter.params) == {"1/ffn_norm"} | ({"0/ffn_norm"} if layers is None else set())


def test_other_answers_than_the_plain_forms_stop_a_benchmark(folder, tmp_path: Path) -> None:
    one = folder("one").One(tiny.encoder(), None, 4, 8)
    one.adapter.params["0/ffn_norm"]["up"] *= 2  # what is loaded is a copy of what was
    pooled = one.pooled()
    with pytest.raises(ArithmeticError, match="other answers"):
        folder("agree").require("ours", folder("agree").differences({"pooled": pooled}, {"pooled": one.plain()}))


def test_a_gradient_that_is_missing_is_said(folder) -> None:
    with pytest.raises(KeyError, match="only one of two gives"):
        folder("agree").differences({"pooled": torch.ones(1)}, {"pooled": torch.ones(1), "up": torch.ones(1)})


@pytest.mark.parametrize("kind", ["lora", "bottleneck"])
def test_every_way_to_have_many_modules_answers_by_the_formula(folder, tmp_path: Path, kind: str) -> None:
    ours = folder("registry_ours").Ours(tiny.encoder(), kind, 5, 8, tmp_path)
    assert ours.check()["output"] < 1e-5
    for name, question in ours.questions().items():
        assert question(*(["1"] if name.startswith("forward") else [])) > 0
        assert len(ours.model.loaded) == 5
    assert ours.check()["output"] < 1e-5


def test_modules_that_are_mixed_up_stop_the_registry(folder, tmp_path: Path) -> None:
    ours = folder("registry_ours").Ours(tiny.encoder(), "lora", 4, 8, tmp_path)
    ours.adapters.reverse()  # the stack has them in the old order
    with pytest.raises(ArithmeticError, match="other answers"):
        ours.check()


def test_the_registry_measures_every_way_in_turn(folder, tmp_path: Path) -> None:
    registry = folder("registry")
    ours = folder("registry_ours").Ours(tiny.encoder(), "bottleneck", 3, 8, tmp_path)
    entry = registry.measured(ours, "bottleneck", alone(), tmp_path)
    for what, questions in registry.QUESTIONS.items():
        assert entry[what].keys() == questions.keys() - {""}
        assert all(len(found) == 2 and min(found) > 0 for found in entry[what].values())


def test_latency_is_measured_beside_the_bare_encoder(folder) -> None:
    entry = folder("latency").measured(folder("one").One(tiny.encoder(), None, 1, 8), alone(3))
    assert {name: len(found) for name, found in entry["forward"].items()} == {"ours": 3, "bare": 3}
    assert entry["apart"]["ours"]["output"] < 1e-5


def test_a_step_with_layers_left_out_is_measured_with_the_states_kept_and_without(folder) -> None:
    drop = folder("drop")
    for case, keeps in (("fp32", True), ("fp32, nothing kept", False)):
        entry = drop.measured(folder("one").One(tiny.encoder(), "1-", 4, 8), drop.CASES[case], alone())
        assert len(entry["step"]["ours"]) == 2
        assert ("below" in entry) == ("states that were kept" in entry["apart"]) == keeps


def test_our_runs_are_held_against_the_modules_that_they_stored(folder, tmp_path: Path) -> None:
    record, tasks = running.run(tmp_path), running.stream().tasks
    scores = {record.tasks[c.task].name: c.score for c in record.cells if c.stage == "learn" and c.after == c.task}
    modules = {module.task: module.digest for module in record.modules}
    check = folder("stream").check
    bare = tiny.encoder("bert", words=importlib.import_module("continual.task_streams.toy").WORDS)
    check(bare, Store(tmp_path / "store"), modules, scores, tasks, False, "cpu")
    wrong = {**scores, tasks[0].name: scores[tasks[0].name] - 0.1}
    with pytest.raises(ArithmeticError, match="was recorded"):
        check(bare, Store(tmp_path / "store"), modules, wrong, tasks, False, "cpu")


def test_the_libraries_are_given_the_rows_of_our_batches(folder, tmp_path: Path) -> None:
    stream, text = folder("stream"), importlib.import_module("continual.stream.text")
    tasks, encoder = running.stream().tasks, running.encoder()
    stream.pack(tasks, text.Reader(encoder.tokenizer, 48), 0, tmp_path / "packed.json")
    for task, packed in zip(tasks, json.loads((tmp_path / "packed.json").read_text(encoding="utf-8")), strict=True):
        assert packed["train"] == [[row.text, row.label] for row in task.train]
        assert len(packed["batches"]) == stream.RECIPE.epochs
        for epoch in packed["batches"]:
            assert sorted(row for batch in epoch for row in batch) == list(range(len(task.train)))


def record(rows: dict[str, Any]) -> dict[str, Any]:
    """As the commands write it: ``rows`` are without what all have."""
    every = {"busy": 0.5, "apart": {"ours": {"output": 1e-6}}, "peer": {"adapters": "1.3.0"}}
    return {
        "setting": {"encoder": "minilm", "cpu": "some CPU", "cores": 2},
        "machine": {"device": "CPU", "threads": 2, "versions": {"torch": "2", "peft": "0"}},
        "rows": {name: {**every, **row} for name, row in rows.items()},
    }


def test_the_page_says_what_was_reached_and_what_was_missed(folder, tmp_path: Path) -> None:
    ways = {"add": [0.09] * 2, "switch": [1e-6] * 2, "load": [0.2] * 2, "forward": [0.02] * 2}
    many = {what: {"ours": found, "adapters": [2 * s for s in found]} for what, found in ways.items()}
    one = {"forward": {"ours": [1.04, 1.04], "bare": [1.0, 1.0]}}
    need = {
        "memory": {
            "ours": [{"loaded": 1, "peak": 1 + 900 * 2**20}],
            "full": [{"loaded": 0, "peak": 1800 * 2**20, "step": 0.5}],
        }
    }
    left = {"fp32": {"step": {"ours": [1.0] * 2, "adapters": [3.0] * 2}, "below": [1.5]}}
    made = {
        "registry": {"bottleneck": many},
        "latency": {"bottleneck": one},
        "peak": {"bottleneck": need},
        "drop": left,
    }
    for name, rows in made.items():
        (tmp_path / f"{name}-cpu.json").write_text(json.dumps(record(rows)), encoding="utf-8")
    page = folder("report").render(tmp_path)
    assert "| bottleneck: adding all | 90.0 ms | ≤ 100 ms | yes |" in page
    assert "| bottleneck: loading one more from disk | 200 ms | ≤ 5 ms | **missed** |" in page
    assert "| ours over the bare encoder | +4.0 % (+4.0 to +4.0) | ≤ 5 % | yes |" in page
    assert "| ours | 900 MiB | ≤ 800 MiB | **missed** |" in page
    assert "| full | 1800 | 2.00 | 500 |" in page
    assert "| fp32 | 1000 | 1500 | 3000 | 3.00 (3.00 to 3.00) | 2.00 | – | – |" in page
    assert "some CPU, 2 cores, threads: 2" in page
    assert page.count("Not measured yet") == 4  # stream, grouped, dealt, routed


def test_runs_of_a_stream_are_compared_seed_by_seed(folder, tmp_path: Path) -> None:
    def run(seconds: float, score: float) -> dict[str, Any]:
        return {"seconds": seconds, "parts": {"learning": 1.0}, "peak": 10**6, "accuracy": {"a": score, "b": score}}

    rows = {"ours s0": run(10, 0.8), "ours s1": run(20, 0.8), "adapters s1": run(100, 0.85)}
    (tmp_path / "stream-cpu.json").write_text(json.dumps(record(rows)), encoding="utf-8")
    page = folder("report").render(tmp_path)
    assert "| seconds, adapters ÷ ours | 5.00 (5.00 to 5.00) | ≥ 4 | yes |" in page
    assert "| its accuracy, ours − theirs, points | -5.0 | ≥ -1 | **missed** |" in page
    assert "peft" not in page.split("## A stream")[1].split("## ")[0].split("seconds, adapters")[1]  # it did not run


def test_only_what_both_sides_can_do_is_done_in_a_stream_on_a_gpu(folder) -> None:
    stream = folder("stream")
    plan, tasks = stream.planned(True, 0.03), running.stream().tasks
    fused = [name for name in (*plan.ours, *plan.theirs) if plan.fuses(name)]
    assert {name.split(",")[0] for name in fused} == {"ours", "adapters"}
    assert not any("lora" in name for name in fused)
    assert "composition=fusion" in plan.command("ours, bf16", tasks)
    assert "composition=[]" in plan.command("ours, lora, bf16", tasks)
    assert not any(map(stream.planned(False, 0.03).fuses, stream.OURS))


def test_a_stream_on_a_gpu_is_judged_with_its_start_and_without(folder, tmp_path: Path) -> None:
    def run(seconds: float, inside: float) -> dict[str, Any]:
        parts = {"learning": inside / 2, "all else": seconds - inside / 2}
        return {"seconds": seconds, "run": inside, "parts": parts, "peak": 1, "accuracy": {"a": 0.9}, "fusion": 0.95}

    longer = {"ours, lora, bf16, 10 epochs s0": run(20, 5), "peft, 10 epochs s0": run(400, 100)}
    made = record({"ours, bf16 s0": run(10, 2), "adapters s0": run(50, 40), **longer})
    made["setting"]["card"] = "some card"
    (tmp_path / "stream-cuda.json").write_text(json.dumps(made), encoding="utf-8")
    page = folder("report").render(tmp_path)
    assert "### some card" in page
    assert "| seconds, adapters ÷ ours, bf16 | 5.00 (5.00 to 5.00) | ≥ 15 | **missed** |" in page
    assert "| without start and data, adapters ÷ ours, bf16 | 20.00 (20.00 to 20.00) | ≥ 15 | yes |" in page
    assert "| seconds, peft, 10 epochs ÷ ours, lora, bf16, 10 epochs | 20.00 (20.00 to 20.00) | ≥ 15 | yes |" in page
    assert "| ours, bf16 | 90.0 | 90.0 | 95.0 |" in page


def test_groups_and_routed_batches_are_shown_against_peer_and_peak(folder, tmp_path: Path) -> None:
    work, peaks = {"flops": 2e9, "bytes": 1e6}, {"flops": 1e12, "bytes": 1e9}
    step = {"ours": [0.001] * 2, "ours, launched": [0.01] * 2, "peft": [0.03] * 2}
    all_ = {"step": step, "work": work, "peaks": peaks, "apart": {"ours": {"module": 0.001}}}
    one = {**all_, "step": {**step, "ours": [0.0025] * 2}}
    groups = {"bert-base 16x64 lora 1": one, "bert-base 16x64 lora 32": all_}
    took = {"ours": [0.02], "ours, graph": [0.003], "bare": [0.01], "bare, graph": [0.0025], "peft": [0.3]}
    routes = {"lora, 64 rows, 64 modules": {"forward": took}, "lora, 64 rows, 1000 modules": {"forward": took}}
    for name, rows in (("grouped", groups), ("routed", routes)):
        (tmp_path / f"{name}-cuda.json").write_text(json.dumps(record(rows)), encoding="utf-8")
    page = folder("report").render(tmp_path)
    assert "| bert-base 16×64, lora, N = 32 | 1.0 | 10.0 | 30.0 | 30.00 (30.00 to 30.00) | ≥ 25 | yes |" in page
    assert "| lora: of the measured peak of products | 6 % | ≥ 45 % | **missed** |" in page
    assert "32 one after another ÷ 32 at once, both as graphs | 2.50 (2.50 to 2.50) | ≥ 2 | yes |" in page
    assert "| lora, 64 rows, 64 modules: ours ÷ bare, as graphs | 1.20 (1.20 to 1.20) | ≤ 1.5 | yes |" in page
    assert "| lora, 64 rows, 64 modules: `peft` ÷ ours | 100 (100 to 100) | ≥ 60 | yes |" in page
    assert "| throughput at 1,000 modules ÷ at 64 | 1.00 (1.00 to 1.00) | ≥ 0.9 | yes |" in page


def sides(model: AdaptedEncoder, second: Any = learn) -> dict[str, Dealt]:
    """Of the benchmark on two cards, on the CPU; ``second`` learns where there are two."""
    cpu, machine = torch.device("cpu"), Machine(group=8)
    return {"one": Dealt(model, machine, learn, [cpu]), "two": Dealt(model, machine, second, [cpu] * 2)}


def test_modules_that_are_dealt_are_held_against_those_of_one_device_and_both_are_timed(folder) -> None:
    pytest.importorskip("peft", reason="grouped.py needs it")
    dealt, model = folder("dealt"), tiny.adapted()
    requests = dealt.asked(model, 4, 4, 8, 3, 10)
    assert len({request.lr for request in requests}) == 4
    assert dealt.checked(sides(model), requests)["module"] < 1e-3
    found = dealt.measured(sides(model), requests, 2)
    assert found.pop("steps") == 30
    assert {name: sorted(table) for name, table in found.items()} == {"seconds": ["one", "two"], "step": ["one", "two"]}
    assert all(len(times) == 2 and min(times) > 0 for table in found.values() for times in table.values())


def test_a_stream_is_asked_for_as_a_run_asks(folder) -> None:
    pytest.importorskip("peft", reason="grouped.py needs it")
    dealt, model, seen = folder("dealt"), tiny.adapted(), []

    def few(model: AdaptedEncoder, requests: list[Learn], *rest: Any) -> list[Learned]:
        seen.append(len(requests))
        return learn(model, requests, *rest)

    requests = dealt.asked(model, 5, 4, 8, 1, 2)
    made = Dealt(model, Machine(group=1), few, [torch.device("cpu")])
    assert len(dealt.stream(made, requests, tiny.QUIET)) == 5
    assert seen == [1] * 5


def test_other_modules_on_two_devices_stop_the_benchmark(folder) -> None:
    pytest.importorskip("peft", reason="grouped.py needs it")
    dealt, model = folder("dealt"), tiny.adapted()

    def wrong(model: AdaptedEncoder, requests: list[Learn], *rest: Any) -> list[Learned]:
        return learn(model, [replace(request, lr=2 * request.lr) for request in requests], *rest)

    with pytest.raises(ArithmeticError, match="of their way from those of one"):
        dealt.checked(sides(model, wrong), dealt.asked(model, 2, 4, 8, 1, 8))


def test_two_cards_are_shown_against_one(folder, tmp_path: Path) -> None:
    seconds, step = {"one": [10.0, 12.0], "two": [5.0, 6.0]}, {"one": [0.04] * 2, "two": [0.05] * 2}
    row = {"seconds": seconds, "step": step, "steps": 240}
    made = record({"bert-base 16x64": {**row, "apart": {"ours": {"module": 0.001}}}})
    made["setting"] |= {"card": "some card", "modules": 64}
    (tmp_path / "dealt-cuda.json").write_text(json.dumps(made), encoding="utf-8")
    page = folder("report").render(tmp_path)
    assert "| bert-base 16×64 | 240 | 11.00 | 5.50 | 2.00 (2.00 to 2.00) | 40.0 | 50.0 | 0.80 (0.80 to 0.80) |" in page
    assert "| bert-base 16×64: one card ÷ two | 2.00 (2.00 to 2.00) | ≥ 1.9 | yes |" in page
    assert "no further than 0.10 % of their way" in page


def test_rows_of_another_setting_are_not_added_to_a_record(folder, tmp_path: Path) -> None:
    bench, options = folder("bench"), argparse.Namespace(records=tmp_path)
    bench.book(options, "latency", rows=1).put("bottleneck", {})
    assert bench.book(options, "latency", rows=1).rows
    with pytest.raises(SystemExit, match="another folder"):
        bench.book(options, "latency", rows=2)
