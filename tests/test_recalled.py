"""Stored modules back in an encoder: what a run composed, merged and pruned answers again as it did."""

from __future__ import annotations

import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from continual import folder
from continual.composition import Watch
from continual.composition.average import Average
from continual.composition.fusion import Fusion
from continual.composition.unipelt import UniPELT
from continual.drive import run_stream
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.merging import named as merging
from continual.method.lora import LoRA
from continual.parts import Parts
from continual.pruning.automatic import Automatic
from continual.pruning.top import Top
from continual.recalled import member, recall
from continual.report.record import Record
from continual.store import Store
from continual.stream.text import Reader
from tests import running, tiny

RULES = tuple(merging(name, {}) for name in folder.names("continual.merging"))
FUSIONS = ("fusion", "fusion.pruned")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recall")


@cache
def finished(root: Path) -> tuple[Parts, Record]:
    parts = running.parts(
        root,
        method=LoRA(rank=2, targets=("query", "ffn_out")),
        compositions=(Fusion(), UniPELT(methods=("lora", "bottleneck")), Average()),
        mergings=RULES,
        prune=Top(keep=1, above=1),
    )
    return parts, run_stream(parts)


def test_all_that_a_run_composed_and_merged_is_in_its_record(root: Path) -> None:
    _, record = finished(root)
    assert record.status == "finished", record.warnings
    made = {"fusion", "fusion.pruned", "unipelt", "average", *folder.names("continual.merging")}
    assert made <= {module.method for module in record.modules}
    assert {gain.composition for gain in record.gains} == made
    assert made <= {cell.stage for cell in record.cells}


def test_what_was_stored_scores_again_as_the_record_says(root: Path) -> None:
    parts, record = finished(root)
    task, model = parts.stream.tasks[parts.target_index], AdaptedEncoder(parts.encoder)
    read = Reader(parts.encoder.tokenizer, parts.encoder.max_length)
    scores = {gain.composition: gain.score for gain in record.gains}
    for module in record.modules:
        if module.method in scores:
            found = recall(Store(parts.store), module.name, parts.encoder)
            found.install(model)
            assert found.head is not None
            data = read(task.test, found.head, task.labels)
            answers = tiny.answers(model, found.head, found.head_params, data)
            right = [said == wanted for said, wanted in zip(answers, data.wanted, strict=True)]
            assert sum(right) / len(right) == pytest.approx(scores[module.method]), module.name


def test_a_merged_module_is_a_module_of_its_method_with_parents(root: Path) -> None:
    parts, record = finished(root)
    learned = [module.digest for module in record.modules if module.method == "lora"]
    for name in folder.names("continual.merging"):
        module = next(module for module in record.modules if module.method == name)
        card = Store(parts.store).get(module.digest).card
        assert (module.kind, card.kind, card.method) == ("adapter", "adapter", "lora")
        assert list(card.parents) == module.parents == learned
        assert card.origin["merging"][0] == name


def test_a_pruned_fusion_keeps_the_member_that_validation_rows_attend_to_most(root: Path) -> None:
    parts, record = finished(root)
    digests = {module.method: module.digest for module in record.modules}
    task, model = parts.stream.tasks[parts.target_index], AdaptedEncoder(parts.encoder)
    full = recall(Store(parts.store), digests["fusion"], parts.encoder)
    full.install(model)
    assert full.head is not None
    with Watch(model) as watch:
        read = Reader(parts.encoder.tokenizer, parts.encoder.max_length)
        tiny.answers(model, full.head, full.head_params, read(task.valid, full.head, task.labels))
    recall(Store(parts.store), digests["fusion.pruned"], parts.encoder).install(model)
    assert sorted(model.mixers()) == ["1/ffn_out", "1/query"]
    for address in model.mixers():
        means = watch.shares()[address]
        assert model.sites[address].members == (max(means, key=means.__getitem__),)


def test_pruning_by_validation_keeps_its_promise(tmp_path: Path) -> None:
    record = running.run(tmp_path, compositions=(Fusion(),), prune=Automatic(tolerance=0.0))
    full, pruned = (next(m for m in record.modules if m.method == name) for name in ("fusion", "fusion.pruned"))
    assert full.valid_score is not None
    assert pruned.valid_score is not None
    assert pruned.valid_score >= full.valid_score


def test_a_pruned_fusion_that_is_trained_on_starts_from_what_the_full_one_had_learned(tmp_path: Path) -> None:
    """One step at a rate of next to nothing moves next to nothing, and what is stored is the smaller one."""
    slow = Fusion(lr=1e-12, epochs=1)
    record = running.run(tmp_path, compositions=(slow,), prune=Top(keep=1, epochs=1))
    assert record.warnings == []
    store = Store(tmp_path / "store")
    full, pruned = (next(m for m in record.modules if m.method == name) for name in ("fusion", "fusion.pruned"))
    assert (pruned.parents, pruned.steps) == (full.parents, full.steps)
    entries = [store.get(module.digest) for module in (full, pruned)]
    assert entries[1].card.origin["derived_from"] == full.digest
    assert all(len(members) == 1 for members in entries[1].card.arguments["kept"].values())
    for name, tensor in entries[1].tensors.items():
        torch.testing.assert_close(tensor, entries[0].tensors[name], rtol=0, atol=1e-9)


def test_training_after_pruning_moves_the_attention_and_the_head_and_no_member(tmp_path: Path) -> None:
    record = running.run(tmp_path, compositions=(Fusion(lr=1e-2, epochs=1),), prune=Top(keep=2, epochs=3))
    store = Store(tmp_path / "store")
    full, pruned = (store.get(next(m.digest for m in record.modules if m.method == n)) for n in FUSIONS)
    moved = [name for name, tensor in pruned.tensors.items() if not tensor.equal(full.tensors[name])]
    assert any(name.endswith("/query") for name in moved)
    assert not pruned.head["weight"].equal(full.head["weight"])
    assert record.modules_unchanged
    with pytest.raises(ContinualError, match=r"prune\.epochs must be 0"):
        Top(epochs=-1)


def test_a_pruning_without_a_fusion_is_refused_and_one_that_leaves_nothing_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match="this run learns none: add composition=fusion"):
        running.parts(tmp_path, compositions=(Average(),), prune=Top())
    record = running.run(tmp_path, compositions=(Fusion(),), prune=Top(above=2))
    assert record.status == "finished"
    assert any("fusion.pruned skipped: prune.above=2 leaves no site" in line for line in record.warnings)
    assert [gain.composition for gain in record.gains] == ["fusion"] * 2


def test_modules_of_the_store_are_composed_by_name_and_by_digest(root: Path) -> None:
    parts, record = finished(root)
    names = [module.name for module in record.modules if module.method == "lora"]
    digest = next(m.digest for m in record.modules if m.method == "bottleneck")
    again = running.run(root, compositions=(Fusion(),), sources=(names[0], f"{names[1]}/1", digest), seed=7)
    fusion = next(module for module in again.modules if module.method == "fusion")
    own = [module.digest for module in again.modules if module.kind == "adapter" and module.method == "bottleneck"]
    assert fusion.parents == [*own, *(m.digest for m in record.modules if m.name in names[:2]), digest]
    members = next(weights for weights in again.weights if weights.site == "ffn_out").members
    assert members == ["task1 lora", "task2 lora"] or len(set(members)) == len(members)
    assert parts.store == root / "store"


def test_a_module_that_is_named_and_learned_too_is_a_member_once(root: Path) -> None:
    first = running.run(root, compositions=(Fusion(),), seed=11)
    own = [module.digest for module in first.modules if module.kind == "adapter" and module.method == "bottleneck"]
    again = running.run(root, compositions=(Fusion(),), seed=11, sources=(own[0],))
    fusion = next(module for module in again.modules if module.method == "fusion")
    assert fusion.parents == own


def test_sources_that_cannot_be_composed_are_refused_before_anything_is_learned(root: Path) -> None:
    parts, record = finished(root)
    fusion = next(module for module in record.modules if module.method == "fusion")
    for sources, why in (
        ((fusion.name,), "is a composition .fusion., and compositions are not composed again"),
        (("nobody",), "has no 'nobody'; it has"),
        ((fusion.parents[0],) * 2, "twice; name each stored module once"),
    ):
        with pytest.raises(ContinualError, match=why):
            running.run(root, compositions=(Fusion(),), sources=sources, seed=12)
    other = running.encoder(seed=1)
    with pytest.raises(ContinualError, match="belongs to another encoder"):
        member(Store(parts.store), fusion.parents[0], other)


def test_a_composed_module_without_one_of_its_parents_is_refused(root: Path, tmp_path: Path) -> None:
    parts, record = finished(root)
    shutil.copytree(parts.store, tmp_path / "store")
    fusion = next(module for module in record.modules if module.method == "fusion")
    shutil.rmtree(tmp_path / "store" / "objects" / fusion.parents[1])
    with pytest.raises(ContinualError, match=r"must be in the same store, and one cannot be had: .*copy it there"):
        recall(Store(tmp_path / "store"), fusion.digest, parts.encoder)
    recall(Store(tmp_path / "store"), fusion.parents[0], parts.encoder)


@torch.no_grad()
def test_installing_takes_away_what_was_composed_before(root: Path) -> None:
    parts, record = finished(root)
    model, store = AdaptedEncoder(parts.encoder), Store(parts.store)
    single = recall(store, record.modules[0].digest, parts.encoder)
    single.install(model)
    wanted = model(tiny.batch(vocab=30))
    recall(store, next(m.digest for m in record.modules if m.method == "fusion"), parts.encoder).install(model)
    assert tiny.gap(model(tiny.batch(vocab=30)), wanted) > 1e-6
    single.install(model)
    assert torch.equal(model(tiny.batch(vocab=30)), wanted)


def test_the_command_merges_stored_modules(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, record = finished(root)
    names = [module.name for module in record.modules if module.method == "lora"]
    store = Store(parts.store)

    def command(*arguments: str) -> running.Ended:
        monkeypatch.setattr(sys, "argv", ["continual", "store", "merge", *arguments, "--store", str(parts.store)])
        return running.ended(capsys)

    assert (
        command("arithmetic", names[0], names[1], "--as", "both", "--weights", "1", "-1", "--head", names[1]).code == 0
    )
    entry, second = store.get("both"), store.get(names[1])
    assert entry.card.parents == (store.resolve(names[0]), second.digest)
    assert entry.head.keys() == second.head.keys()
    assert all(torch.equal(entry.head[key], second.head[key]) for key in second.head)
    model = AdaptedEncoder(parts.encoder)
    recall(store, "both", parts.encoder).install(model)
    assert command("mean", names[0], names[0], "--as", "twice").code == 0
    same, again = recall(store, names[0], parts.encoder), recall(store, "twice", parts.encoder)
    same.install(model)
    wanted = model(tiny.batch(vocab=30))
    again.install(model)
    assert tiny.gap(model(tiny.batch(vocab=30)), wanted) < 1e-5
    assert "measured on training rows" in command("fisher", *names, "--as", "no").err
    assert "unknown" in command("tise", *names, "--as", "no").err
