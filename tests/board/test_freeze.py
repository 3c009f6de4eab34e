"""Rules are what the experiment is, not how it was asked for; what cannot be frozen is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from continual.board.freeze import freeze
from continual.board.rules import Rules
from continual.errors import ContinualError
from continual.parts import code_digest
from tests import running

TINY = [*running.OVERRIDES, "composition=[]"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"encoder.name={running.saved_encoder(tmp_path_factory.mktemp('encoder'))}"


def frozen(encoder: str, *more: str, **changes) -> Rules:
    experiment = [item for item in [*TINY, *more] if not item.startswith("threads")]
    return freeze("tiny", "average_accuracy", [0, 1], [*experiment, encoder], **changes)


def test_stream_and_encoder_are_frozen_by_what_they_are_and_the_rest_by_value(
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rules = frozen(encoder, orders="stream.seed=0,1")
    assert rules.frozen == {"trainer.epochs": 1, "composition": {}}
    assert (rules.stream, rules.scenario, rules.code) == ("toy", "task", None)
    assert rules.encoder["encoder"] == running.encoder().fingerprint
    assert [(order.name, order.override) for order in rules.orders] == [("0", "stream.seed=0"), ("1", "stream.seed=1")]
    assert rules.orders[0].digest == running.stream().digest
    assert rules.orders[0].digest != rules.orders[1].digest
    assert list(tmp_path.iterdir()) == []


def test_without_orders_there_is_the_one_of_the_stream_and_the_code_may_be_fixed(encoder: str) -> None:
    rules = frozen(encoder, code=True)
    assert [order.name for order in rules.orders] == ["listed"]
    assert rules.code == code_digest()


def test_orders_that_are_lists_of_tasks_are_numbered(encoder: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        lines = [f"{name} text {number},{'xy'[number % 2]}" for number in range(40)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    a, b = (tmp_path / f"{name}.csv" for name in ("a", "b"))
    rules = freeze("own", "average_accuracy", [0], ["stream=csv", encoder], f"stream.files=[{a},{b}],[{b},{a}]")
    assert [(order.name, order.tasks) for order in rules.orders] == [("1", ["a", "b"]), ("2", ["b", "a"])]
    assert rules.orders[1].override == f"stream.files=[{b},{a}]"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("seed=3", "cannot freeze seed=3"),
        ("logger=csv", "cannot freeze logger=csv"),
        ("paths.runs=x", r"cannot freeze paths\.runs=x"),
        ("experiment=naive", "cannot freeze experiment=naive"),
        ("trainer.epochs=1,2", r"cannot freeze trainer\.epochs=1,2"),
        ("+new=1", "cannot freeze"),
        ("=", "continual run --help"),
        ("method=querry", "querry"),
        ("my_token=abc", "looks like a secret"),
    ],
)
def test_what_no_result_depends_on_or_nobody_knows_cannot_be_frozen(more: str, why: str) -> None:
    with pytest.raises(ContinualError, match=why):
        freeze("tiny", "average_accuracy", [0], [*TINY[:1], more])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "../x"}, "board '../x' is no name"),
        ({"metric": "beauty"}, "unknown metric 'beauty'; choose from:"),
        ({"seeds": []}, "expected at least one"),
        ({"seeds": [1, 1]}, "each once"),
        ({"orders": "seed=0,1"}, "expected one key of the stream"),
        ({"orders": "stream.count=["}, "continual run --help"),
    ],
    ids=str,
)
def test_what_is_no_board_is_refused(changes, why: str) -> None:
    given = {"name": "tiny", "metric": "average_accuracy", "seeds": [0], "experiment": ["stream=toy"]}
    with pytest.raises(ContinualError, match=re.escape(why)):
        freeze(**{**given, **changes})


def test_orders_must_differ(encoder: str) -> None:
    with pytest.raises(ContinualError, match="got the same tasks and rows twice"):
        frozen(encoder, orders="stream.seed=0,0")
