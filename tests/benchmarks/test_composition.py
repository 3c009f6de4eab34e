"""The page of the compositions' numbers is what its records say, and what is timed computes what it is said to."""

from __future__ import annotations

import importlib
import json
import sys
from collections import deque
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import tiny

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "composition"
COSTS = sorted((HERE / "records").glob("cost-*.json"))


@pytest.fixture(scope="module")
def folder():
    """Its scripts, and those of benchmarks/methods, import each other by their bare names."""
    methods = HERE.parent / "methods"
    names = {path.stem for place in (HERE, methods) for path in place.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    paths = list(sys.path)
    sys.path.insert(0, str(HERE))
    yield importlib.import_module
    sys.path[:] = paths
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def test_the_page_is_generated_from_the_records(folder) -> None:
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == folder("report").render(HERE / "records")


@pytest.mark.parametrize("path", COSTS, ids=lambda path: path.stem)
def test_what_is_timed_has_as_many_repeats_as_what_it_is_held_against(path: Path) -> None:
    for entry in json.loads(path.read_text(encoding="utf-8"))["rows"].values():
        for kind in ("step", "step_direct", "forward"):
            assert len({len(seconds) for seconds in entry[kind].values()}) == 1
            assert all(len(seconds) >= 7 for seconds in entry[kind].values())


@pytest.mark.parametrize("path", COSTS, ids=lambda path: path.stem)
def test_what_was_timed_gave_the_same_answers_and_gradients(path: Path) -> None:
    for entry in json.loads(path.read_text(encoding="utf-8"))["rows"].values():
        for apart in (entry["agreement"], entry["direct"]):
            assert max(apart["output"], apart["gradient"]) < (5e-4 if "cuda" in path.stem else 1e-4)


def entry(ours: float, theirs: float) -> dict:
    """As ``cost.py`` writes it: three repeats, ours of ``ours`` seconds and MB, theirs of ``theirs``."""
    times = {name: [ours] * 3 for name in ("ours", "bare", "two", "pruned")}
    times |= {name: [theirs] * 3 for name in ("adapters", "still", "direct")}
    took = {name: {"loaded": 5, "peak": 5 + int(1e6 * seconds[0])} for name, seconds in times.items()}
    apart = {"output": 1e-6, "gradient": 2e-6, "largest": 1e-6}
    found = {"peer": {"adapters": "1.3.0"}, "step": times, "step_direct": times, "forward": times}
    return found | {"memory": took, "memory_direct": took["direct"], "agreement": apart, "direct": apart}


def test_a_target_is_met_where_theirs_takes_that_many_times_ours(folder, tmp_path: Path) -> None:
    record = {
        "setting": {"encoder": "minilm", "batch": 32, "tokens": 64, "precision": "32-true", "parameters": 1000},
        "machine": {"device": "CPU", "threads": 2, "versions": {"torch": "2", "transformers": "5"}},
        "rows": {"2": entry(1.0, 1.0), "8": entry(1.0, 2.0), "32": entry(1.0, 3.5)},
    }
    (tmp_path / "cost-minilm.json").write_text(json.dumps(record), encoding="utf-8")
    page = folder("report").render(tmp_path)
    assert "| step of 8, `adapters` ÷ ours | 2.00 (2.00 to 2.00) | ≥ 2 | yes |" in page
    assert "| step of 32, `adapters` ÷ ours | 3.50 (3.50 to 3.50) | ≥ 4 | **no** |" in page
    assert "| memory of 32, ours ÷ `adapters` | 0.29 | ≤ 0.33 | yes |" in page
    assert "| our step of 32 ÷ of 2 | 1.00 (1.00 to 1.00) | ≤ 1.5 | yes |" in page
    assert "| 32 over 2 | 1.00 (1.00 to 1.00) | 3.50 |  | 3.50 |  |  |" in page


def test_on_a_cpu_ours_in_bfloat16_is_held_against_theirs_in_both_precisions(folder, tmp_path: Path) -> None:
    setting = {"encoder": "minilm", "batch": 32, "tokens": 64, "parameters": 1000}
    machine = {"device": "CPU", "threads": 2, "versions": {"torch": "2", "transformers": "5"}}
    for precision, ours, theirs in (("32-true", 2.0, 10.0), ("bf16-mixed", 1.0, 4.0)):
        said = {"setting": {**setting, "precision": precision}, "machine": machine, "rows": {"16": entry(ours, theirs)}}
        (tmp_path / f"cost-minilm-cpu-{precision}.json").write_text(json.dumps(said), encoding="utf-8")
    page = folder("report").render(tmp_path)
    plain, low = (page.split(f"{precision}\n")[1].split("### ")[0] for precision in ("32-true", "bf16-mixed"))
    assert "| on two cores, step of 16, `adapters` ÷ ours | 5.00 (5.00 to 5.00) | ≥ 6 | **no** |" in plain
    assert "in float32" not in plain.split("Our own targets")[1]
    assert "| on two cores, step of 16, `adapters` ÷ ours | 4.00 (4.00 to 4.00) | ≥ 6 | **no** |" in low
    assert "| on two cores, step of 16, `adapters` in float32 ÷ ours | 10.00 | ≥ 6 | yes |" in low
    assert "| memory of 16, ours ÷ `adapters` | 0.25 | ≤ 0.25 | yes |" in low


class Script:
    """The questions of a made-up asker, in order, and what it was answered."""

    def __init__(self, *questions: str) -> None:
        self.questions, self.answers = deque(questions), []

    def read(self) -> list[str]:
        return self.questions.popleft().split()

    def write(self, answer: object) -> None:
        self.answers.append(answer)


def ours(folder, form: str, line: Script, count: int = 3):
    said = {"encoder": "tiny", "form": form, "count": count, "rows": 4, "tokens": 8, "steps": 3, "threads": 1}
    return folder("fusion_ours").Ours(tiny.encoder(), {**said, "cuda": False, "bf16": False}, line)


def test_a_training_takes_each_step_when_it_is_asked_and_leaves_the_modules_loaded(folder) -> None:
    line = Script("step", "step")  # the question for the first is what begins it
    model = ours(folder, "rank", line)
    assert model.step() > 0
    assert len(line.answers) == 2
    assert not line.questions
    assert len(model.model.loaded) == 3


def test_the_direct_form_gives_the_answers_and_gradients_of_rank_space(folder, tmp_path: Path) -> None:
    answers = []
    for form in ("rank", "direct"):
        model = ours(folder, form, Script())
        model.answers(str(tmp_path / form))
        answers.append(load_file(tmp_path / form))
    apart = folder("cost").differences(*answers)
    assert max(apart["output"], apart["gradient"]) < 1e-5
    assert all(tensor.abs().sum() > 0 for tensor in answers[0].values())


def test_the_direct_form_forms_keys_and_rank_space_does_not(folder, monkeypatch) -> None:
    site = importlib.import_module("continual.encoder.site")
    formed = []
    deltas = site.Parts.deltas
    monkeypatch.setattr(site.Parts, "deltas", lambda parts: formed.append(1) or deltas(parts))
    for form, sites in (("rank", 0), ("direct", 2)):
        formed.clear()
        ours(folder, form, Script()).forward("1")
        assert len(formed) == sites


def test_a_pruned_site_holds_two_modules_and_a_bare_one_none(folder) -> None:
    held = {
        form: ours(folder, form, Script(), count=5).model.sites["1/ffn_norm"].members for form in ("pruned", "bare")
    }
    assert held == {"pruned": (1, 2), "bare": ()}


def test_answers_that_differ_stop_the_run(folder) -> None:
    cost = folder("cost")
    one = {"pooled": torch.ones(2, 3), "0/ffn_norm/key": torch.ones(3, 3)}
    other = one | {"0/ffn_norm/key": torch.full((3, 3), 1.001)}
    cost.close("the same", cost.differences(one, one))
    with pytest.raises(ArithmeticError, match="answer otherwise"):
        cost.close("others", cost.differences(one, other))


def test_processes_are_asked_in_turn_and_every_other_time_in_the_opposite_order(folder) -> None:
    asked = []

    class One:
        def __init__(self, name: str) -> None:
            self.name = name

        def ask(self, *question: str) -> float:
            asked.append(self.name)
            return len(asked)

    found = folder("asked").in_turn({n: One(n) for n in "ab"}, dict.fromkeys("ab", ("step",)), rounds=2, warm=1)
    assert "".join(asked) == "baabba"
    assert found == {"a": [3, 6], "b": [4, 5]}
