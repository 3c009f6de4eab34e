"""What a board asks is fixed once, and rules that this package cannot follow are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from continual.board import rules
from continual.errors import ContinualError

from . import made


def test_rules_come_back_as_they_were_saved(tmp_path: Path) -> None:
    rules.save(made.rules(), tmp_path / "board")
    assert rules.load(tmp_path / "board") == made.rules()


def test_a_board_keeps_its_rules(tmp_path: Path) -> None:
    rules.save(made.rules(), tmp_path)
    with pytest.raises(ContinualError, match="is a board already"):
        rules.save(made.rules(asks="Another question?"), tmp_path)
    assert rules.load(tmp_path).asks == "Which row is best?"


def test_a_row_has_every_seed_with_every_order() -> None:
    assert made.rules(seeds=[0, 1]).jobs == [(0, "forth"), (0, "back"), (1, "forth"), (1, "back")]


def test_a_folder_that_is_no_board_is_named_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"is no board: it has no board\.json; continual board new"):
        rules.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema_version": 2, "asks": None}, "schema 1: schema_version"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [0, 0]}, "stands there twice"),
        ({"name": "../elsewhere"}, "is no name"),
        ({"orders": []}, "orders"),
        ({"more": 1}, "more"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_rules_of_another_version_or_kind_are_refused_with_the_key(tmp_path: Path, change, why: str) -> None:
    rules.save(made.rules(), tmp_path)
    made.edit(tmp_path / "board.json", lambda value: value.update(change))
    with pytest.raises(ContinualError, match=why):
        rules.load(tmp_path)


def test_half_written_rules_are_refused(tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text('{"schema_version": 1, "na', encoding="utf-8")
    with pytest.raises(ContinualError, match="has no rules of schema 1"):
        rules.load(tmp_path)


@pytest.mark.parametrize("metric", ["average_accuracy@2", "beauty@1"])
def test_a_metric_of_another_version_is_not_ranked_by(metric: str) -> None:
    with pytest.raises(ContinualError, match=f"ranks by {metric}; this package has"):
        made.rules(metric=metric).formula()


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a|b", "-a", "a" * 65, "a\n"])
def test_what_could_be_another_folder_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        made.rules(name=name)
