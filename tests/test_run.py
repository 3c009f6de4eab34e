"""One run, from the first row to the record: what it promises, on a tiny encoder."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from continual import composition as compositions
from continual import drive, trainer
from continual.adapter import Adapter, unflatten
from continual.certificate import prove
from continual.composition.fusion import Fusion
from continual.composition.unipelt import UniPELT
from continual.drive import run_stream
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import fingerprint
from continual.errors import ContinualError, CorruptError, IsolationError
from continual.evaluate import Evaluate
from continual.head.classify import Classify
from continual.ledger import Cell, Ledger
from continual.method import named
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.full import Full
from continual.method.head import HeadOnly
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from continual.method.prefix_mlp import PrefixMLP
from continual.method.prompt import Prompt
from continual.metric.base import measure
from continual.parts import Parts
from continual.report.record import CellFacts, Record, load
from continual.request import Learn, Learned, Recipe
from continual.session import Session
from continual.store import Store
from continual.strategy.isolated import Isolated
from continual.strategy.sequential import Sequential
from continual.stream.base import Example, Stream, Task
from continual.stream.text import Reader
from continual.trainer import Machine
from tests import running, tiny

BOTH = (Fusion(), UniPELT())


def cells(record: Record, stage: str = "learn") -> dict[tuple[int, int], CellFacts]:
    return {(cell.after, cell.task): cell for cell in record.cells if cell.stage == stage}


def digests(record: Record) -> dict[str, str]:
    return {module.name: module.digest for module in record.modules}


WORDS = ("bad", "zut"), ("dek", "fim")


def forgettable() -> Stream:
    """The words that say everything in the first task are everywhere in the second, and say nothing."""
    first = [Example(" ".join([WORDS[0][i % 2]] * 6 + [f"w{i}"]), i % 2) for i in range(48)]
    second = [Example(" ".join([WORDS[1][i % 2]] + [WORDS[0][i // 2 % 2]] * 8 + [f"v{i}"]), i % 2) for i in range(48)]
    tasks = (Task(name, ("a", "b"), r[:32], r[32:40], r[40:]) for name, r in (("x", first), ("y", second)))
    return Stream("forgettable", tuple(tasks))


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parts, Record]:
    """One whole run with both compositions, looked at from many sides."""
    parts = running.parts(tmp_path_factory.mktemp("composed"), compositions=BOTH)
    return parts, run_stream(parts)


@pytest.mark.parametrize(
    ("strategy", "method"),
    [
        (Isolated(), Bottleneck()),
        (Isolated(), LoRA(rank=2)),
        (Isolated(), Full()),
        (Isolated(), HeadOnly()),
        (Sequential(), Bottleneck()),
        (Sequential(), Full()),
        (Sequential(), HeadOnly()),
    ],
)
def test_a_run_fills_the_whole_matrix(tmp_path: Path, strategy: Isolated, method: Bottleneck) -> None:
    record = running.run(tmp_path, strategy=strategy, method=method)
    assert record.status == "finished"
    assert sorted(cells(record, "zero")) == [(-1, j) for j in range(3)]
    assert sorted(cells(record)) == [(i, j) for i in range(3) for j in range(3)]
    assert {(c.how, c.task <= c.after) for c in record.cells} == {("own", True), ("ncm", False)}
    assert all(cell.score is not None and cell.low <= cell.score <= cell.high for cell in record.cells)
    assert [m.task for m in record.modules] == ["toy-0", "toy-1", "toy-2"]
    assert record.encoder_unchanged
    assert record.modules_unchanged


@pytest.mark.parametrize("method", [Bottleneck(), Full(), HeadOnly()])
def test_isolated_modules_forget_nothing_even_where_every_cell_is_forwarded_again(
    tmp_path: Path, method: Bottleneck
) -> None:
    record = running.run(tmp_path, evaluate=Evaluate(reuse=False), method=method)
    assert not any(cell.reused for cell in record.cells)
    assert record.metrics["backward_transfer"].value == 0
    assert record.metrics["forgetting"].value == 0


def test_reused_cells_equal_forwarded_ones_and_cost_no_rows(tmp_path: Path) -> None:
    again, reused = (running.run(tmp_path, evaluate=Evaluate(reuse=reuse)) for reuse in (False, True))
    assert [cell.score for cell in reused.cells] == [cell.score for cell in again.cells]
    assert digests(reused) == digests(again)
    assert {(c.after, c.task) for c in reused.cells if c.reused} == {(1, 0), (2, 0), (2, 1)}
    assert reused.forwarded_rows == again.forwarded_rows - 3 * running.SIZES["test"]


def test_in_bfloat16_training_and_evaluation_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, read = set(), AdaptedEncoder.read

    def watched(model: AdaptedEncoder, *given: object) -> object:
        seen.add((model.training, model.lower))
        return read(model, *given)

    monkeypatch.setattr(AdaptedEncoder, "read", watched)
    record = running.run(tmp_path, machine=Machine(precision="bf16-mixed"))
    monkeypatch.undo()
    assert seen == {(True, torch.bfloat16), (False, torch.bfloat16)}
    assert record.status == "finished"
    single = running.run(tmp_path / "single")
    assert record.id != single.id
    assert abs(record.metrics["average_accuracy"].value - single.metrics["average_accuracy"].value) < 0.1
    heads = [Store(tmp_path / "store").get(module.digest).head for module in record.modules]
    assert {tensor.dtype for head in heads for tensor in head.values()} == {torch.float32}


def test_unseen_tasks_can_be_skipped(tmp_path: Path) -> None:
    record = running.run(tmp_path, evaluate=Evaluate(unseen="none"))
    assert sorted(cells(record)) == [(i, j) for i in range(3) for j in range(i + 1)]
    assert cells(record, "zero") == {}
    assert record.metrics["forward_transfer"].value is None
    assert record.metrics["forward_transfer"].missing > 0


def test_of_unseen_tasks_the_next_one_is_all_that_forward_transfer_asks_for(tmp_path: Path) -> None:
    whole, record = (running.run(tmp_path, evaluate=Evaluate(unseen=unseen)) for unseen in ("ncm", "next"))
    assert sorted(set(cells(whole)) - set(cells(record))) == [(0, 2)]
    assert sorted(cells(record, "zero")) == [(-1, 0), (-1, 1), (-1, 2)]
    assert record.metrics["forward_transfer"] == whole.metrics["forward_transfer"]
    assert record.forwarded_rows < whole.forwarded_rows


@pytest.mark.parametrize(("method", "lr"), [(Bottleneck(reduction_factor=2), 0.3), (Full(), 5e-3)])
def test_the_sequential_baseline_forgets(tmp_path: Path, method: Bottleneck, lr: float) -> None:
    encoder = tiny.encoder("bert", words=WORDS[0] + WORDS[1])
    recipe = Recipe(lr=lr, epochs=20, batch_size=8)
    given = {"stream": forgettable(), "encoder": encoder, "recipe": recipe, "method": method}
    forgets, keeps = (running.run(tmp_path, strategy=strategy, **given) for strategy in (Sequential(), Isolated()))
    assert cells(forgets)[0, 0].score == 1
    assert forgets.metrics["backward_transfer"].value < -0.3
    assert keeps.metrics["backward_transfer"].value == 0


def test_sequential_cells_are_answered_by_the_module_as_it_is_now(tmp_path: Path) -> None:
    parts = running.parts(tmp_path, strategy=Sequential(), recipe=Recipe(lr=0.05, epochs=3, batch_size=8))
    record = run_stream(parts)
    store, model = Store(parts.store), AdaptedEncoder(running.encoder())
    entries = [store.get(module.digest) for module in record.modules]
    for (after, task), cell in cells(record).items():
        if task <= after:
            model.load([_adapter(parts, record, after)])
            right = _right(model, parts, entries[task].head, task)
            assert cell.score == pytest.approx(right.mean())
    model.release()


def _adapter(parts: Parts, record: Record, index: int) -> Adapter:
    entry = Store(parts.store).get(record.modules[index].digest)
    return Adapter(named(entry.card.method, entry.card.arguments), unflatten(entry.tensors))


def _right(model: AdaptedEncoder, parts: Parts, head: dict[str, torch.Tensor], index: int) -> np.ndarray:
    """Of each test row, whether it is answered rightly."""
    task = parts.stream.tasks[index]
    data = Reader(parts.encoder.tokenizer, parts.encoder.max_length)(task.test, Classify(), task.labels)
    return np.array(tiny.answers(model, Classify(), head, data)) == [row.label for row in task.test]


def test_modules_of_different_tasks_and_strategies_have_names_of_their_own(tmp_path: Path) -> None:
    names = [
        [m.name for m in running.run(tmp_path, strategy=strategy).modules] for strategy in (Isolated(), Sequential())
    ]
    assert names[0] == [f"toy.toy-{i}.bottleneck" for i in range(3)]
    assert names[1] == [f"toy.toy-{i}.bottleneck.sequential" for i in range(3)]


def test_long_names_stay_within_64_characters_and_apart(tmp_path: Path) -> None:
    tasks = [replace(task, name="t" * 60 + str(i)) for i, task in enumerate(running.stream().tasks)]
    record = running.run(tmp_path, stream=Stream("toy", tuple(tasks)))
    names = [module.name for module in record.modules]
    assert len(set(names)) == 3
    assert max(map(len, names)) <= 64


def test_a_stream_name_that_cannot_name_modules_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match="stream name 'My tasks' cannot name modules"):
        running.parts(tmp_path, stream=Stream("My tasks", running.stream().tasks))


def test_a_stream_of_one_task_has_no_transfer(tmp_path: Path) -> None:
    record = running.run(tmp_path, stream=running.stream(count=1), compositions=BOTH)
    assert record.status == "finished"
    assert record.metrics["average_accuracy"].value is not None
    assert record.metrics["backward_transfer"].value is None
    assert {gain.composition for gain in record.gains} == {"fusion", "unipelt"}


# Compositions


def test_a_run_composes_for_its_smallest_task_and_learns_what_is_missing(composed: tuple[Parts, Record]) -> None:
    _, record = composed
    made = [(m.kind, m.method, m.task) for m in record.modules[3:]]
    assert made == [
        ("adapter", "head", "toy-2"),
        ("composition", "fusion", "toy-2"),
        ("adapter", "lora", "toy-2"),
        ("composition", "unipelt", "toy-2"),
    ]
    of = {module.method: module for module in record.modules[2:]}
    assert of["fusion"].parents == [module.digest for module in record.modules[:3]]
    assert of["unipelt"].parents == [of["bottleneck"].digest, of["lora"].digest]
    assert {cell.stage for cell in record.cells} == {"zero", "learn", "best", "head", "fusion", "unipelt"}


def test_weights_of_mixers_are_recorded_by_site_and_member(composed: tuple[Parts, Record]) -> None:
    _, record = composed
    fusion = [row for row in record.weights if row.composition == "fusion"]
    assert [(row.layer, row.site) for row in fusion] == [(0, "ffn_norm"), (1, "ffn_norm")]
    assert all(row.kind == "attention" and row.members == ["toy-0", "toy-1", "toy-2"] for row in fusion)
    assert all(sum(row.mean) == pytest.approx(1, abs=1e-5) for row in fusion)
    gates = {row.site: row.members for row in record.weights if row.composition == "unipelt"}
    assert gates == {"query": ["lora"], "value": ["lora"], "ffn_norm": ["bottleneck"]}
    assert all(0 < mean < 1 for row in record.weights if row.kind == "gate" for mean in row.mean)


def test_parts_of_a_bundle_that_meet_at_a_site_are_recorded_by_name(tmp_path: Path) -> None:
    bundle = Bundle({"lora": {"targets": ["ffn_out"], "rank": 2}, "bottleneck": {"targets": ["ffn_out"]}})
    record = running.run(tmp_path, method=bundle, compositions=(Fusion(),), recipe=Recipe(epochs=1, batch_size=8))
    wanted = [f"toy-{task} {part}" for part in ("lora", "bottleneck") for task in range(3)]
    assert [sorted(row.members) for row in record.weights] == [sorted(wanted)] * 2


def test_gains_are_those_of_the_stored_modules(composed: tuple[Parts, Record]) -> None:
    """Everything is read back from the store and answered again."""
    parts, record = composed
    store, of = Store(parts.store), {module.method: module for module in record.modules[2:]}
    best = max((of["bottleneck"], of["lora"]), key=lambda module: module.valid_score)
    index = {module.digest: i for i, module in enumerate(record.modules)}
    model = AdaptedEncoder(running.encoder())
    right = {}
    for stage, module in (("single", best), ("head", of["head"])):
        model.load([_adapter(parts, record, index[module.digest])])
        right[stage] = _right(model, parts, store.get(module.digest).head, 2)
    for composition in BOTH:
        name = compositions.name_of(composition)
        entry = store.get(of[name].digest)
        adapters = [_adapter(parts, record, index[digest]) for digest in of[name].parents]
        compositions.restore(model, composition, adapters, entry.tensors)
        right[name] = _right(model, parts, entry.head, 2)
        model.mix(None)
    model.release()
    assert len(record.gains) == 4
    for gain in record.gains:
        ours, other = (right[stage].mean() for stage in (gain.composition, gain.versus))
        assert (gain.score, gain.reference, gain.gain) == pytest.approx((ours, other, ours - other))
        assert gain.low <= gain.gain <= gain.high
        assert gain.n == running.SIZES["test"]
        assert cells(record, gain.composition)[2, 2].score == pytest.approx(gain.score)


@pytest.mark.parametrize(("chosen", "made"), [((), set()), ((Fusion(),), {"fusion"}), ((UniPELT(),), {"unipelt"})])
def test_compositions_are_a_list(tmp_path: Path, chosen: tuple, made: set[str]) -> None:
    record = running.run(tmp_path, compositions=chosen)
    assert {gain.composition for gain in record.gains} == made
    assert {m.method for m in record.modules if m.kind == "composition"} == made


def test_the_target_can_be_chosen(tmp_path: Path) -> None:
    record = running.run(tmp_path, compositions=(Fusion(),), target="toy-0")
    assert {gain.task for gain in record.gains} == {"toy-0"}
    assert cells(record, "fusion").keys() == {(2, 0)}
    with pytest.raises(ContinualError, match="unknown target 'toy-9'; choose from: toy-0, toy-1, toy-2"):
        running.parts(tmp_path, target="toy-9")


@pytest.mark.parametrize(
    ("method", "count"),
    [(Full(), 1), (Full(), 3), (HeadOnly(), 1), (HeadOnly(), 3), (Prefix(length=2), 3), (Prompt(length=2), 3)],
)
def test_what_cannot_be_fused_is_skipped_with_a_reason_and_the_gates_still_learn(
    tmp_path: Path, method: Described, count: int
) -> None:
    record = running.run(tmp_path, method=method, compositions=BOTH, stream=running.stream(count=count))
    assert record.status == "finished"
    assert [line for line in record.warnings if line.startswith("fusion skipped: ")]
    assert {gain.composition for gain in record.gains} == {"unipelt"}
    assert {gain.versus for gain in record.gains} == {"single", "head"}


def test_the_head_alone_is_learned_once(tmp_path: Path) -> None:
    record = running.run(tmp_path, method=HeadOnly(), compositions=BOTH)
    assert [m.task for m in record.modules if m.method == "head"] == ["toy-0", "toy-1", "toy-2"]


# Proofs


def _damage(parts: Parts, ending: str) -> None:
    store = Store(parts.store)
    [name] = [name for name in store.names() if name.endswith(ending)]
    path = store.root / "objects" / store.resolve(name) / "adapter.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_composed_module_damaged_later_in_the_run_stops_it_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = running.parts(tmp_path, compositions=BOTH)

    def tampering(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        if requests[0].composition == BOTH[1]:
            _damage(parts, ".fusion")
        return trainer.learn(model, requests, *rest)

    monkeypatch.setattr(drive, "learn", tampering)
    with pytest.raises(CorruptError, match=r"objects/[0-9a-f]{64}/adapter\.safetensors"):
        run_stream(parts)


def test_a_module_damaged_after_the_last_proof_is_not_called_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = running.parts(tmp_path)

    def damaging(session: Session, stage: str) -> None:
        prove(session, stage)
        _damage(parts, "toy-1.bottleneck")

    monkeypatch.setattr("continual.run.prove", damaging)
    record = run_stream(parts)
    assert not record.modules_unchanged
    assert record.status == "finished with failures"
    assert any(re.search(r"objects/[0-9a-f]{64}/adapter\.safetensors", line) for line in record.warnings)


def test_a_composition_given_twice_or_beyond_what_there_is_is_refused_before_training(tmp_path: Path) -> None:
    for wrong, said in (
        ((Fusion(), Fusion(lr=1e-4)), "fusion is given twice"),
        ((UniPELT(methods=("bottleneck", "foo")),), "unknown method 'foo'"),
        ((Fusion(epochs=0),), "epochs must be at least 1"),
        ((Fusion(lr=-1.0),), "lr must be above 0"),
    ):
        with pytest.raises(ContinualError, match=said):
            running.parts(tmp_path, compositions=wrong)


def test_the_gain_over_the_head_is_there_when_the_head_is_the_runs_own_method(tmp_path: Path) -> None:
    record = running.run(tmp_path, method=HeadOnly(), compositions=(UniPELT(),))
    assert [gain.versus for gain in record.gains] == ["single", "head"]


def test_an_encoder_changed_by_the_first_training_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny.encoder("bert", words=["bad"])

    def tampering(model: AdaptedEncoder, *rest: object) -> list[Learned]:
        with torch.no_grad():
            next(model.encoder.parameters()).add_(1e-3)
        return trainer.learn(model, *rest)

    monkeypatch.setattr(drive, "learn", tampering)
    with pytest.raises(IsolationError, match="after toy-0: the frozen encoder tiny-bert changed in embeddings"):
        running.run(tmp_path, encoder=encoder)


def test_a_composition_that_changes_its_frozen_modules_is_a_bug_that_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampering(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        learned = trainer.learn(model, requests, *rest)
        if requests[0].composition is not None:
            with torch.no_grad():
                model.sites["1/ffn_norm"].groups[0].stack["up"][1, 0, 0] += 1e-6
        return learned

    monkeypatch.setattr(drive, "learn", tampering)
    with pytest.raises(RuntimeError, match="changed its frozen adapter 1"):
        running.run(tmp_path, compositions=(Fusion(),))


def test_the_encoder_is_given_back_without_hooks_however_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = running.encoder()
    before = fingerprint(encoder.model)

    def failing(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        if requests[0].name == "learn/toy-1":
            raise RuntimeError("out of memory")
        return trainer.learn(model, requests, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(drive, "learn", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            running.run(tmp_path / "a")
    assert not any(module._forward_hooks for module in encoder.model.modules())
    assert fingerprint(encoder.model) == before
    went_on, fresh = running.run(tmp_path / "a"), running.run(tmp_path / "b")
    assert running.results(went_on) == running.results(fresh)


# The record


def test_the_record_reads_back_and_the_page_is_there(composed: tuple[Parts, Record]) -> None:
    parts, record = composed
    folder = Path(parts.runs) / record.id
    assert load(folder / "run.json") == record
    assert record.id in (folder / "dashboard.html").read_text(encoding="utf-8")
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["schema_version"] == 1
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "run.json",
        "dashboard.html",
        "ledger.jsonl",
        "modules.jsonl",
        "certificate.jsonl",
        "rows",
        "begun.json",
        "losses.jsonl",
    }


def test_metrics_are_those_of_the_recorded_cells(composed: tuple[Parts, Record]) -> None:
    _, record = composed
    ledger = Ledger([task.name for task in record.tasks])
    ledger.add(Cell(**cell.model_dump()) for cell in record.cells)
    for name, metric in measure(ledger).items():
        assert record.metrics[name].value == metric.value
    matrix = np.array([[cells(record)[i, j].score for j in range(3)] for i in range(3)])
    assert record.metrics["average_accuracy"].value == pytest.approx(matrix[-1].mean())
    assert record.metrics["backward_transfer"].value == pytest.approx((matrix[-1] - matrix.diagonal())[:-1].mean())
    assert record.metrics["learning_accuracy"].value == pytest.approx(matrix.diagonal().mean())


def test_costs_are_recorded(composed: tuple[Parts, Record]) -> None:
    parts, record = composed
    for module in record.modules:
        folder = Path(parts.store) / "objects" / module.digest
        assert module.bytes == sum(path.stat().st_size for path in folder.iterdir())
        assert module.seconds > 0
        assert module.steps > 0
    assert record.peak_memory_bytes > 1e7
    assert {"python", "torch", "transformers"} <= record.versions.keys()


def test_truncation_is_counted_and_said(tmp_path: Path) -> None:
    encoder = replace(running.encoder(), max_length=5)
    record = running.run(tmp_path, encoder=encoder)
    assert record.tasks[0].truncated == 32 + 8 + 24
    assert any("longer than 5 tokens" in line for line in record.warnings)


# Determinism


def test_equal_runs_in_two_folders_are_equal_to_the_bit_and_another_seed_is_not(tmp_path: Path) -> None:
    one, two = (running.run(tmp_path / name, compositions=BOTH) for name in "ab")
    assert running.results(one) == running.results(two)
    other = running.run(tmp_path / "a", compositions=BOTH, seed=1)
    assert other.id != one.id
    assert not set(digests(other).values()) & set(digests(one).values())


def test_a_finished_run_returns_its_record_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = running.run(tmp_path)
    monkeypatch.setattr(drive, "learn", None)
    assert running.run(tmp_path) == first


@pytest.mark.parametrize(
    "change",
    [
        {"method": LoRA()},
        {"method": Bottleneck(scale=2.0)},
        {"strategy": Sequential()},
        {"compositions": (Fusion(),)},
        {"recipe": Recipe(epochs=3)},
        {"evaluate": Evaluate(shots=1)},
        {"seed": 1},
        {"encoder": replace(running.encoder(), pooling="cls")},
        {"target": "toy-0"},
        {"encoder": running.encoder(1)},
        {"stream": running.stream(seed=1)},
    ],
)
def test_whatever_changes_the_result_changes_the_run(tmp_path: Path, change: dict) -> None:
    assert running.parts(tmp_path, **change).run_id != running.parts(tmp_path).run_id


def test_where_a_run_is_kept_and_shown_changes_nothing(tmp_path: Path) -> None:
    one = running.parts(tmp_path / "a", config={"note": 1}, target="toy-2")
    assert one.run_id == running.parts(tmp_path / "b").run_id


# Divergence


def diverging(*names: str):
    """``learn`` with NaN in the head of these requests."""

    def learn(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        requests = [
            replace(r, head_params={k: t * torch.nan for k, t in r.head_params.items()}) if r.name in names else r
            for r in requests
        ]
        return trainer.learn(model, requests, *rest)

    return learn


def test_a_diverged_task_is_a_gap_and_the_others_are_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = running.run(tmp_path / "good")
    monkeypatch.setattr(drive, "learn", diverging("learn/toy-1"))
    record = running.run(tmp_path / "bad")
    assert record.status == "finished with failures"
    assert [(m.status, bool(m.digest)) for m in record.modules] == [("ok", True), ("diverged", False), ("ok", True)]
    assert "loss nan at step 1" in record.modules[1].why
    gaps = {at: cell.why for at, cell in cells(record).items() if cell.score is None}
    assert gaps == {(1, 1): "its training diverged", (2, 1): "its training diverged"}
    assert record.modules[2].digest == good.modules[2].digest
    assert record.metrics["average_accuracy"].missing == 1
    assert Store(tmp_path / "bad" / "store").names() == ["toy.toy-0.bottleneck", "toy.toy-2.bottleneck"]


def test_a_sequential_run_goes_on_from_the_last_good_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    learn = diverging("learn/toy-1")

    def watching(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        started.append(requests[0].adapters[0].digest())
        return learn(model, requests, *rest)

    monkeypatch.setattr(drive, "learn", watching)
    parts = running.parts(tmp_path, strategy=Sequential())
    record = run_stream(parts)
    first = _adapter(parts, record, 0).digest()
    assert started[1:] == [first, first]
    assert [m.status for m in record.modules] == ["ok", "diverged", "ok"]
    assert all(cells(record)[after, 0].score is not None for after in range(3))


def test_a_learning_rate_that_ruins_the_modules_is_a_failure_that_stores_nothing(tmp_path: Path) -> None:
    record = running.run(tmp_path, recipe=Recipe(lr=1e30, batch_size=8))
    assert record.status == "finished with failures"
    assert not Store(tmp_path / "store").names()
    assert record.metrics["average_accuracy"].value is None


def test_a_module_that_its_last_step_ruined_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ruining(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        [learned] = trainer.learn(model, requests, *rest)
        bad = {key: tensor * torch.nan for key, tensor in learned.head_params.items()}
        return [replace(learned, head_params=bad) if requests[0].name == "learn/toy-1" else learned]

    monkeypatch.setattr(drive, "learn", ruining)
    record = running.run(tmp_path)
    assert [m.status for m in record.modules] == ["ok", "diverged", "ok"]
    assert "not finite after the last step" in record.modules[1].why


def test_without_a_target_module_compositions_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "learn", diverging("learn/toy-2"))
    record = running.run(tmp_path, compositions=BOTH)
    assert record.warnings == ["compositions skipped: the target toy-2 has no module"]
    assert record.gains == []


@pytest.mark.parametrize("name", ["fusion", "unipelt", "lora/toy-2", "head/toy-2"])
def test_a_diverged_part_of_the_composition_stage_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(drive, "learn", diverging(name))
    record = running.run(tmp_path, compositions=BOTH)
    assert record.status == "finished with failures"
    assert {gain.composition for gain in record.gains} >= {"fusion", "unipelt"} - {name}


@pytest.mark.parametrize(
    ("method", "why"),
    [(LoRA(rank=64), "method.rank is 64"), (LoRA(targets=("querry",)), "querry"), (Prompt(length=60), "positions")],
)
def test_what_the_encoder_has_no_room_for_is_said_before_anything_is_read(
    method: Described, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("continual.evaluate.features", lambda *_: pytest.fail("the bare encoder was scored first"))
    with pytest.raises(ContinualError, match=why):
        running.run(tmp_path, method=method)


def test_a_rate_is_kept_where_a_shared_module_goes_on_in_its_settled_form(tmp_path: Path) -> None:
    parts = running.parts(tmp_path, method=PrefixMLP(), recipe=Recipe(lr=1e-4))
    assert parts.rate_for(PrefixMLP()) == parts.rate_for(PrefixMLP().settled) == 1e-4
    assert parts.rate_for(LoRA()) == LoRA.lr
