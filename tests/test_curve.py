"""Losses of a training in its run's folder: few, in time, and of each member its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from continual.curve import POINTS, Curve, going_on
from continual.trainer import Machine
from tests import running


def write(path: Path, name: str, steps: int, until: int | None = None) -> None:
    curve = Curve(path, name, steps)
    for step in range(1, (until or steps) + 1):
        curve.add(step, float(step))


def test_a_short_training_has_every_loss_and_a_long_one_the_means_of_few_stretches(tmp_path: Path) -> None:
    write(tmp_path / "short", "a", 7)
    assert going_on(tmp_path / "short") == {"a": [(step, float(step)) for step in range(1, 8)]}
    write(tmp_path / "long", "a", 10_001)
    points = going_on(tmp_path / "long")["a"]
    assert len(points) <= POINTS
    assert points[0] == (51, 26.0)
    assert points[-1][0] == 10_001


def test_a_loss_that_is_not_finite_leaves_no_point(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "losses", "a", 2)
    curve.add(1, float("nan"))
    curve.add(2, 1.0)
    assert going_on(tmp_path / "losses") == {"a": [(2, 1.0)]}


def test_what_goes_on_is_the_last_training_and_those_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "losses"
    write(path, "before", 5)
    one, two = Curve(path, "one", 3), Curve(path, "two", 3)
    for step in (1, 2, 3):
        one.add(step, 1.0)
        two.add(step, 2.0)
    assert going_on(path).keys() == {"one", "two"}
    write(path, "next", 4, until=1)
    assert going_on(path).keys() == {"next"}


def test_a_training_that_was_begun_again_has_only_its_new_points(tmp_path: Path) -> None:
    write(tmp_path / "losses", "a", 5, until=4)
    write(tmp_path / "losses", "a", 5, until=1)
    write(tmp_path / "losses", "a", 5, until=2)
    assert going_on(tmp_path / "losses") == {"a": [(1, 1.0), (2, 2.0)]}


ODD = ['{"name": "a", "step": 9', "[]", "3", "[" * 100_000, "\udcff", '{"name": 1, "step": 9, "loss": 1}']
ODD += ['{"name": "a", "step": 9, "loss": 1' + "0" * 400 + "}"]  # no float is as large
ODD += ['{"name": "a", "step": true, "loss": 1}', '{"name": "a", "step": 9, "loss": NaN}', '{"name": "a", "step": 9}']


@pytest.mark.parametrize("line", ODD)
def test_a_line_that_is_no_point_is_left_out(line: str, tmp_path: Path) -> None:
    write(tmp_path / "losses", "a", 2)
    with open(tmp_path / "losses", "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line)
    assert going_on(tmp_path / "losses") == {"a": [(1, 1.0), (2, 2.0)]}


def test_without_a_file_nothing_goes_on(tmp_path: Path) -> None:
    assert going_on(tmp_path / "losses") == {}


@pytest.mark.parametrize("group", [1, 3])
def test_a_run_leaves_the_losses_of_each_member_whether_alone_or_in_a_group(group: int, tmp_path: Path) -> None:
    record = running.run(tmp_path, machine=Machine(group=group))
    lines = (tmp_path / "runs" / record.id / "losses.jsonl").read_text(encoding="utf-8").splitlines()
    steps: dict[str, list[int]] = {}
    for entry in map(json.loads, lines):
        steps.setdefault(entry["name"], []).append(entry["step"])
        assert 0 < entry["loss"] < 10
    assert steps == {f"learn/toy-{task}": list(range(1, record.modules[task].steps + 1)) for task in range(3)}
