"""Every kind of task from end to end: in one run, in one batch, and learned together."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from continual import head, predict
from continual.adapter import Adapter, generator
from continual.bank import HeadBank
from continual.composition.fusion import Fusion
from continual.composition.unipelt import UniPELT
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, DataError
from continual.evaluate import score_of
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.report import dashboard
from continual.report.record import Record
from continual.report.table import show
from continual.request import Learn, Learned, Recipe
from continual.run import run as steps_of
from continual.stream.base import Example, Stream, Task
from continual.stream.image import ImageReader
from continual.stream.lint import check
from continual.stream.text import Reader
from continual.stream.units import Encoded, collate, examples, join
from continual.task_streams import toy
from tests import mixed, running, tiny

TASKS = mixed.tasks()
READER = Reader(tiny.tokenizer(toy.WORDS), 48)
KINDS = [task.name for task in TASKS]
UNCLASSED = [i for i, task in enumerate(TASKS) if not head.named(task.head).classes]


# One run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    root = tmp_path_factory.mktemp("mixed")
    return root, running.run(
        root,
        stream=Stream("mixed", tuple(TASKS)),
        compositions=(Fusion(), UniPELT()),
        target="marks",
        recipe=Recipe(epochs=3, batch_size=8),
    )


def test_a_stream_of_every_kind_is_learned_stored_evaluated_and_composed(finished: tuple[Path, Record]) -> None:
    root, record = finished
    assert record.status == "finished"
    assert (record.encoder_unchanged, record.modules_unchanged) == (True, True)
    assert [module.task for module in record.modules[: len(TASKS)]] == KINDS
    assert [(task.head, task.score) for task in record.tasks] == [
        ("classify", "accuracy"),
        ("classify", "macro_f1"),
        ("multilabel", "micro_f1"),
        ("regress", "pearson"),
        ("tag", "entity_f1"),
        ("span", "answer_f1"),
        ("choice", "accuracy"),
        ("retrieve", "mrr"),
    ]
    assert {(gain.composition, gain.task) for gain in record.gains} == {("fusion", "marks"), ("unipelt", "marks")}
    last = [cell for cell in record.cells if (cell.stage, cell.after) == ("learn", len(TASKS) - 1)]
    assert [(cell.how, cell.score is not None, cell.low <= cell.high) for cell in last] == [("own", True, True)] * 8
    assert (root / "runs" / record.id / "dashboard.html").is_file()


def test_tasks_without_classes_are_gaps_with_a_reason_until_they_are_learned(finished: tuple[Path, Record]) -> None:
    cells = [cell for cell in finished[1].cells if cell.stage in ("zero", "learn") and cell.after < cell.task]
    assert {cell.task for cell in cells if cell.score is None} == set(UNCLASSED)
    assert {cell.task for cell in cells if cell.score is not None} == {0, 1} - {cell.task for cell in cells} | {0, 1}
    for cell in cells:
        if cell.task in UNCLASSED:
            assert cell.why == f"a {TASKS[cell.task].head} task has no classes, so no class means"


def test_isolated_modules_of_every_kind_forget_nothing(finished: tuple[Path, Record]) -> None:
    record = finished[1]
    assert record.metrics["backward_transfer"].value == 0.0
    own: dict[int, set[float]] = {}
    for cell in record.cells:
        if cell.stage == "learn" and cell.how == "own":
            own.setdefault(cell.task, set()).add(cell.score)
    assert [len(scores) for scores in own.values()] == [1] * 8


def test_table_and_page_name_the_scores(finished: tuple[Path, Record]) -> None:
    console = Console(file=io.StringIO(), width=80)
    show(finished[1], console)
    text = console.file.getvalue()
    assert "Scores, points" in text
    assert "accuracy of topic, options" in " ".join(text.split())
    assert "entity_f1 of names" in " ".join(text.split())
    assert "names\\u003cbr>entity_f1" in dashboard.render(finished[1])


def test_a_finished_run_of_every_kind_is_not_run_again(finished: tuple[Path, Record]) -> None:
    root, record = finished
    again = running.run(
        root,
        stream=Stream("mixed", tuple(mixed.tasks())),
        compositions=(Fusion(), UniPELT()),
        target="marks",
        recipe=Recipe(epochs=3, batch_size=8),
    )
    assert again == record


@pytest.mark.parametrize("target", KINDS)
def test_modules_are_composed_for_a_task_of_every_kind(tmp_path: Path, target: str) -> None:
    pair = tuple(task for task in TASKS if task.name in ("topic", target)) or TASKS[:1]
    record = running.run(
        tmp_path,
        stream=Stream("two", pair),
        compositions=(Fusion(),),
        target=target,
        recipe=Recipe(epochs=1, batch_size=8),
    )
    assert [(gain.composition, gain.task) for gain in record.gains] == [("fusion", target)] * 2


# What is learned


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_learned(name: str) -> None:
    """A module with its head, trained for some epochs, is far better than before."""
    [task] = mixed.tasks({"train": 96, "valid": 16, "test": 48}, (name,))
    model = AdaptedEncoder(running.encoder())
    request = asked(model, task, LoRA(), 1, epochs=32, lr=5e-3)
    score, test = score_of(task), READER(task.test, request.head, task.labels)

    def value(adapter: Adapter, params: dict[str, torch.Tensor]) -> float:
        model.load([adapter])
        stats = score.rows(tiny.answers(model, request.head, params, test), test.wanted, task.labels)
        return float(score.total(stats.sum(0)))

    before = value(request.adapters[0], request.head_params)
    [learned] = tiny.train(model, request)
    after = value(learned.adapter, learned.head_params)
    assert after >= min(before + 0.25, 0.9), f"{name}: {before:.2f} before, {after:.2f} after"


def asked(model: AdaptedEncoder, task: Task, method: Any, seed: int, **recipe: Any) -> Learn:
    """A request to learn a task of any kind, in the precision of the encoder."""
    rate = recipe.pop("lr", 2e-3)
    start = tiny.trained(method, model, seed)
    request = tiny.request(model, start, toy.tasks()[0], seed, **recipe)
    kind, dtype = head.named(task.head), next(model.encoder.parameters()).dtype
    return replace(
        request,
        name=task.name,
        head=kind,
        head_params=tiny.cast(kind.init(model.width, len(task.labels), generator(seed, task.name)), dtype),
        train=READER(task.train, kind, task.labels),
        valid=READER(task.valid, kind, task.labels),
        score=score_of(task),
        labels=task.labels,
        lr=rate,
    )


# One batch


METHODS = (LoRA(rank=2), Bottleneck(8), LoRA(rank=4, targets=("query", "ffn_out")), Bottleneck(4))


def several(model: AdaptedEncoder, **recipe: Any) -> list[Learn]:
    """A member of each kind, and another topic task of other labels; methods in turn."""
    other = toy.tasks(classes=5)[0]
    return [asked(model, task, METHODS[i % 4], i, **recipe) for i, task in enumerate([*TASKS, other])]


def test_modules_of_every_kind_answer_in_one_batch_what_they_answer_alone() -> None:
    model = tiny.adapted(dtype=torch.float64)
    requests = several(model)
    rows = [3, 0, 5]  # of each task
    parts = [collate(r.valid, rows) for r in requests]
    batch = join(parts, requests[0].valid.pad)
    sizes = torch.tensor([len(part.row) for part in parts])
    batch.member = torch.arange(len(requests)).repeat_interleave(sizes)
    model.load([r.adapters[0] for r in requests])
    together: dict[int, list[Any]] = {i: [None] * len(rows) for i in range(len(requests))}
    logits: dict[int, torch.Tensor] = {}
    for answer in HeadBank([(r.head, r.head_params) for r in requests])(model.read(batch), batch.member):
        owner = batch.member[answer.rows]
        for member in owner.unique().tolist():
            mine = owner == member
            logits[member] = answer.logits[mine]
            of = examples(batch)[answer.rows[mine]].unique(return_inverse=True)[1]
            together[member] = answer.head.decode(answer.logits[mine], marks(requests[member].valid, rows), of)
    for member, (request, part) in enumerate(zip(requests, parts, strict=True)):
        model.load([request.adapters[0]])
        [answer] = HeadBank([(request.head, request.head_params)])(model.read(part))
        shape = tuple(slice(n) for n in answer.logits.shape)  # together the batch is padded to the longest
        finite = answer.logits.isfinite()
        assert tiny.gap(logits[member][shape][finite], answer.logits[finite]) <= 1e-10
        alone = answer.head.decode(answer.logits, marks(request.valid, rows), examples(part))
        assert same(alone, together[member]), request.name


def marks(data: Encoded, rows: list[int]) -> list[Any]:
    return [None if data.marks is None else data.marks[unit] for unit in data.units(rows)[0].tolist()]


def same(one: list[Any], two: list[Any]) -> bool:
    """Equal answers; numbers and vectors up to rounding."""
    if isinstance(one[0], float) or (isinstance(one[0], tuple) and isinstance(next(iter(one[0]), None), np.ndarray)):
        return all(np.abs(np.subtract(a, b)).max() <= 1e-10 for a, b in zip(one, two, strict=True))
    return one == two


def test_answers_of_every_kind_over_a_whole_split_are_those_of_its_member_alone() -> None:
    """``predict.answers`` with all modules loaded, rows routed to one of them."""
    model = tiny.adapted(dtype=torch.float64)
    requests = several(model)
    model.load([r.adapters[0] for r in requests])
    bank = HeadBank([(r.head, r.head_params) for r in requests])
    together = [predict.answers(model, bank, request.valid, i) for i, request in enumerate(requests)]
    for request, found in zip(requests, together, strict=True):
        model.load([request.adapters[0]])
        assert same(tiny.answers(model, request.head, request.head_params, request.valid), found), request.name


@pytest.mark.parametrize("batch_size", [8, 5])
def test_modules_of_every_kind_learn_together_what_they_learn_alone(batch_size: int) -> None:
    model = tiny.adapted(dtype=torch.float64)
    requests = several(model, epochs=3, batch_size=batch_size)
    requests[4] = replace(requests[4], recipe=replace(requests[4].recipe, patience=1))
    together = tiny.train(model, *requests)
    for request, found in zip(requests, together, strict=True):
        [alone] = tiny.train(model, request)
        assert apart(alone, found) <= 1e-10, request.name


def apart(one: Learned, two: Learned) -> float:
    """Largest difference between any of their tensors."""
    assert (one.steps, one.trainable) == (two.steps, two.trainable)
    assert one.valid_score == pytest.approx(two.valid_score, abs=1e-9)
    gaps = [tiny.gap(tensor, two.head_params[name]) for name, tensor in one.head_params.items()]
    for address, params in one.adapter.params.items():
        gaps += [tiny.gap(tensor, two.adapter.params[address][name]) for name, tensor in params.items()]
    return max(gaps)


@pytest.mark.parametrize("patience", [None, 1])
def test_a_task_whose_numbers_are_not_finite_has_diverged_and_stops_no_other(
    tmp_path: Path, patience: int | None
) -> None:
    tasks = tuple(mixed.tasks(heads=("degree", "marks")))
    recipe = Recipe(epochs=2, batch_size=100, lr=1e30, clip=None, patience=patience)
    record = running.run(tmp_path, stream=Stream("wild", tasks), method=LoRA(), recipe=recipe)
    assert record.status == "finished with failures"
    assert (record.modules[0].status, record.modules[0].valid_score) == ("diverged", None)
    assert {cell.task for cell in record.cells if cell.after == 1} == {0, 1}


def test_a_score_that_cannot_judge_is_no_divergence() -> None:
    model = AdaptedEncoder(running.encoder())
    request = asked(model, mixed.tasks(heads=("names",))[0], LoRA(), 0)
    with pytest.raises(DataError, match=r"expected tags: .* got 'NOUN'"):
        tiny.train(model, replace(request, labels=("O", "NOUN", "ADJ")))


# Images


@pytest.mark.parametrize("family", ["vit", "dinov2"])
def test_a_stream_of_images_is_learned_and_composed(tmp_path: Path, family: str) -> None:
    sizes = {"train": 32, "valid": 8, "test": 24}
    tasks = (mixed.pictures(sizes), mixed.pictures(sizes, "more-shades"))
    record = running.run(
        tmp_path,
        encoder=tiny.encoder(family),
        stream=Stream("pictures", tasks),
        method=LoRA(),
        compositions=(Fusion(),),
        recipe=Recipe(epochs=8, batch_size=8, lr=5e-3),
    )
    assert (record.status, {gain.composition for gain in record.gains}) == ("finished", {"fusion"})
    assert record.metrics["average_accuracy"].value >= 0.9
    assert {cell.how for cell in record.cells if cell.stage == "zero"} == {"ncm"}


@pytest.mark.parametrize(
    ("family", "task", "told"),
    [
        ("vit", TASKS[0], "task 'topic' has texts, and the encoder tiny-vit reads images; choose a text encoder, or"),
        ("vit", TASKS[4], "task 'names' has texts, and the encoder tiny-vit reads images"),
        ("bert", mixed.pictures(), "'shades' has images, and the encoder tiny-bert reads texts; choose an image encod"),
    ],
)
def test_tasks_that_the_encoder_cannot_read_are_refused_before_the_run(
    tmp_path: Path, family: str, task: Task, told: str
) -> None:
    with pytest.raises(ContinualError, match=told):
        running.parts(tmp_path, encoder=tiny.encoder(family), stream=Stream("odd", (task,)))


def test_readers_refuse_the_rows_of_the_other_kind_in_words() -> None:
    picture, kind = mixed.pictures().train[:1], head.named("classify")
    pixels = ImageReader(tiny.processor(), 0)
    with pytest.raises(DataError, match="this encoder reads texts, got an image of 20 x 24 pixels; choose an image"):
        READER(picture, kind, ("a", "b"))
    with pytest.raises(DataError, match="this encoder reads images, got the text"):
        pixels(TASKS[0].train, kind, TASKS[0].labels)
    with pytest.raises(DataError, match="this head reads words, and this encoder images"):
        pixels(TASKS[4].train, head.named("tag"), TASKS[4].labels)


@pytest.mark.parametrize(
    ("kind", "labels", "label_of"),
    [("multilabel", ("dark below", "dark above"), lambda i: (i,)), ("regress", (), float)],
)
def test_images_have_several_labels_or_a_number(
    tmp_path: Path, kind: str, labels: tuple[str, ...], label_of: Any
) -> None:
    made = mixed.pictures({"train": 32, "valid": 8, "test": 24})
    splits = {part: [Example(row.text, label_of(row.label)) for row in rows] for part, rows in made.splits.items()}
    record = running.run(
        tmp_path,
        encoder=tiny.encoder("vit"),
        stream=Stream("pictures", (Task("shades", labels, **splits, head=kind),)),
        method=LoRA(),
        recipe=Recipe(epochs=6, batch_size=8, lr=5e-3),
    )
    assert record.modules[0].valid_score >= 0.7


# What is wrong is found before anything is trained


def spoiled(name: str, text: Any, label: Any) -> Stream:
    [task] = mixed.tasks(heads=(name,))
    return Stream("spoiled", (replace(task, test=[*task.test, Example(text, label)]),))


@pytest.mark.parametrize(
    ("name", "text", "label", "message"),
    [
        ("topic", "bad", 3, r"expected a label from 0 to 2, got 3.*labels are positions in \['a', 'b', 'c'\]"),
        ("pair", ("one", "two", "three"), 0, r"expected a text or a pair of texts"),
        ("pair", ("one", 2), 0, r"expected a text or a pair of texts, got 2"),
        ("marks", "bad", (0, 3), r"expected labels from 0 to 2, got 3"),
        ("marks", "bad", 1, r"expected a tuple of labels, got 1"),
        ("degree", "bad", "high", r"expected a finite number, got 'high'"),
        ("degree", "bad", float("nan"), r"expected a finite number, got nan"),
        ("names", ("a", "b"), (0,), r"expected a label for each word, got 2 words and 1 labels"),
        ("names", ("a",), (3,), r"expected labels from 0 to 2, got 3 for word 0"),
        ("answers", ("q", "the text"), ((1, "text"),), r"expected 'text' at character 1, .*it stands at character 4"),
        ("answers", ("q", "the text"), ((0, "word"),), r"the context does not hold it"),
        ("answers", ("q", "the text"), (), r'labels=\("none",\)'),
        ("options", ("q", "a", "b"), 2, r"expected an option from 0 to 1, got 2"),
        ("options", ("q", "a"), 0, r"expected a question and at least two options"),
        ("search", "alone", None, r"expected a query and a passage"),
    ],
)
def test_a_row_that_its_head_cannot_read_is_found_before_training(
    tmp_path: Path, name: str, text: Any, label: Any, message: str
) -> None:
    stream = spoiled(name, text, label)
    with pytest.raises(DataError, match=rf"(?s)task '{name}' \(\w+\), test, row 16: .*{message}"):
        check(stream)
    parts = running.parts(tmp_path, stream=stream)
    with pytest.raises(DataError, match="row 16"):
        next(steps_of(parts, AdaptedEncoder(parts.encoder)))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_clean_stream_of_every_kind_has_no_warnings() -> None:
    assert check(Stream("mixed", (*TASKS, mixed.pictures()))) == []
