"""Two runs cell by cell: what is compared with what, and what is said of it."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from continual import method
from continual.errors import ContinualError, CorruptError
from continual.outcomes import Outcome, Outcomes
from continual.report.record import Record, load, save
from continual.report.scan import one
from continual.report.versus import Side, Versus, holm, versus
from continual.stream.base import Stream
from tests import running
from tests.report import sample

Command = Callable[..., running.Ended]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("versus")


@pytest.fixture(scope="module")
def bottleneck(root: Path) -> Path:
    return root / "runs" / running.run(root).id


@pytest.fixture(scope="module")
def head(root: Path) -> Path:
    return root / "runs" / running.run(root, method=method.named("head", {})).id


@pytest.fixture(scope="module")
def turned(root: Path) -> Path:
    """The same tasks in another order."""
    first, second, third = running.stream().tasks
    return root / "runs" / running.run(root, stream=Stream("toy", (second, first, third))).id


def side(folder: Path) -> Side:
    return Side(one(folder), Outcomes(folder))


def against(ours: Path, theirs: Path) -> Versus:
    return versus(side(ours), side(theirs))


def altered(folder: Path, to: Path, **changes: Any) -> Path:
    """A copy of a run whose record says otherwise."""
    shutil.copytree(folder, to)
    record = load(folder / "run.json")
    save(record.model_copy(update=changes), to / "run.json")
    return to


def test_every_cell_of_two_runs_of_one_stream_is_compared(bottleneck: Path, head: Path) -> None:
    found, record = against(bottleneck, head), one(bottleneck)
    assert len(found.cells) == len(record.cells)
    for cell, mine, other in zip(found.cells, record.cells, one(head).cells, strict=True):
        assert (cell.ours, cell.theirs, cell.n) == (mine.score, other.score, mine.n)
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low <= cell.gain <= cell.high


def test_p_is_the_binomial_test_of_the_rows_that_one_side_alone_has_right(bottleneck: Path, head: Path) -> None:
    found = against(bottleneck, head)
    mine, other = one(bottleneck).cells[-1], one(head).cells[-1]
    rows = [Outcomes(folder).get(cell.key) for folder, cell in ((bottleneck, mine), (head, other))]
    right = [[stats[0] == 1 for stats in outcome.stats] for outcome in rows if outcome]
    alone = sum(a and not b for a, b in zip(*right, strict=True))
    apart = sum(a != b for a, b in zip(*right, strict=True))
    assert found.cells[-1].p == (binomtest(alone, apart).pvalue if apart else 1.0)


def judged(folder: Path, rows: Sequence[Sequence[float]], score: str = "accuracy") -> Side:
    """A run of one task whose test rows have these statistics."""
    folder.mkdir()
    table = np.array(rows)
    total = table[:, 0].sum() / table[:, 1].sum()
    facts = {"score": total, "n": len(rows), "key": "ab"}
    base = sample.record(("a",), compositions=False)
    cells = [cell.model_copy(update=facts) for cell in base.cells if cell.stage == "learn"]
    cells += [cell.model_copy(update={"stage": "single"}) for cell in cells]  # of a reference, which is no pair
    Outcomes(folder).put("ab", Outcome(table, score, "cd"))
    return Side(base.model_copy(update={"cells": cells}), Outcomes(folder))


def test_of_rows_right_or_wrong_those_that_one_side_alone_has_right_decide(tmp_path: Path) -> None:
    ours = judged(tmp_path / "ours", [[1, 1]] * 12 + [[0, 1]] * 2 + [[1, 1]] * 26)
    theirs = judged(tmp_path / "theirs", [[0, 1]] * 12 + [[1, 1]] * 2 + [[1, 1]] * 26)
    found = versus(ours, theirs)
    [cell], mean = found.cells, found.mean
    assert cell.p == binomtest(12, 14).pvalue == versus(theirs, ours).cells[0].p
    assert cell.decided
    assert mean
    assert (mean.gain, mean.low, mean.high) == (cell.gain, cell.low, cell.high)  # of one task
    deviation = math.sqrt(14 / 40 - 0.25**2) / math.sqrt(40)
    assert (cell.high or 0) - (cell.low or 0) == pytest.approx(2 * 1.96 * deviation, rel=0.15)


def test_of_other_scores_the_resamples_on_a_side_decide_whichever_side_that_is(tmp_path: Path) -> None:
    ours = judged(tmp_path / "ours", [[3, 4], [4, 4]] * 20, "token_accuracy")
    theirs = judged(tmp_path / "theirs", [[1, 4], [4, 4]] * 20, "token_accuracy")
    [over], [under], [same] = (versus(*pair).cells for pair in ((ours, theirs), (theirs, ours), (ours, ours)))
    assert over.p == under.p == pytest.approx(2 / 2001)  # no resample is on the other side
    assert over.decided
    assert under.decided
    assert (same.p, same.decided) == (1.0, False)


def test_the_same_rows_under_other_labels_or_another_score_are_not_paired(tmp_path: Path) -> None:
    ours = judged(tmp_path / "ours", [[1, 1, 0]] * 9, "macro_f1")
    for name, rows, score in (
        ("labels", [[1, 1, 0, 0, 0, 0]] * 9, "macro_f1"),
        ("scores", [[1, 1, 0]] * 9, "accuracy"),
    ):
        [cell] = versus(ours, judged(tmp_path / name, rows, score)).cells
        assert (cell.p, cell.low) == (None, None)
        assert name in cell.why


def test_what_is_kept_of_the_rows_gives_the_score_of_the_cell(bottleneck: Path) -> None:
    for cell in one(bottleneck).cells:
        outcome = Outcomes(bottleneck).get(cell.key)
        assert outcome is not None
        assert outcome.stats[:, 0].mean() == cell.score
        assert len(outcome.stats) == cell.n


def test_a_run_against_itself_differs_nowhere_and_nothing_is_decided(bottleneck: Path) -> None:
    found = against(bottleneck, bottleneck)
    assert {(cell.gain, cell.low, cell.high, cell.p, cell.decided) for cell in found.cells} == {(0, 0, 0, 1.0, False)}
    assert found.mean is not None
    assert found.mean.p == 1.0


def test_a_cell_that_was_reused_is_one_test_and_one_that_is_equal_row_by_row_is_none(
    bottleneck: Path, head: Path
) -> None:
    keys = {(a.key, b.key) for a, b in zip(one(bottleneck).cells, one(head).cells, strict=True)}
    kept = [(Outcomes(bottleneck).get(a), Outcomes(head).get(b)) for a, b in keys]
    differ = [a for a, b in kept if a and b and not np.array_equal(a.stats, b.stats)]
    assert against(bottleneck, head).tests == len(differ) < len(keys) < len(one(bottleneck).cells)
    assert against(bottleneck, bottleneck).tests == 0


def test_the_mean_is_that_of_the_last_row(bottleneck: Path, head: Path) -> None:
    found = against(bottleneck, head)
    last = [cell.gain for cell in found.cells if cell.after == 3 and cell.place.stage == "learn"]
    assert found.mean is not None
    assert found.mean.gain == pytest.approx(np.mean(last))
    assert found.mean.n == 3 * running.SIZES["test"]


def test_other_orders_are_compared_where_the_same_tasks_were_learned(bottleneck: Path, turned: Path) -> None:
    found = against(bottleneck, turned)
    assert {cell.after for cell in found.cells} == {0, 2, 3}  # after both of the first two, in either order
    assert {cell.place.task for cell in found.cells if cell.after == 3} == {"toy-0", "toy-1", "toy-2"}


def test_other_test_rows_give_no_interval_and_say_so(bottleneck: Path, root: Path) -> None:
    other = root / "runs" / running.run(root, stream=running.stream(test=20)).id
    found = against(bottleneck, other)
    assert {(cell.p, cell.why) for cell in found.cells} == {(None, "the test rows are not the same")}
    assert (found.mean, found.tests) == (None, 0)


def test_a_run_whose_rows_were_not_kept_gives_no_interval_and_says_so(bottleneck: Path, tmp_path: Path) -> None:
    bare = altered(bottleneck, tmp_path / "bare")
    shutil.rmtree(bare / "rows")
    assert {cell.why for cell in against(bottleneck, bare).cells} == {
        "the rows of a side were not kept: run it again with this version"
    }


def test_runs_without_a_task_in_common_are_refused_by_name(bottleneck: Path, tmp_path: Path) -> None:
    record = load(bottleneck / "run.json")
    tasks = [task.model_copy(update={"name": f"other-{number}"}) for number, task in enumerate(record.tasks)]
    with pytest.raises(ContinualError, match=r"no cell in common: one is of toy-0.*other-0"):
        against(bottleneck, altered(bottleneck, tmp_path / "other", tasks=tasks))


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "a/b", "ａ", "a" * 400])
def test_a_key_that_leads_elsewhere_is_refused(key: str, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    with pytest.raises(CorruptError, match="no key of a cell"):
        Outcomes(tmp_path).get(key)


@pytest.mark.parametrize("shape", [(), (4,), (2, 2, 1)])
def test_rows_that_are_no_table_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path)
    outcomes.put("ab", Outcome(np.ones(shape), "accuracy", "cd"))
    with pytest.raises(CorruptError, match=r"ab\.safetensors is not what a run writes: expected a table of test rows"):
        outcomes.get("ab")


def test_a_file_of_rows_that_is_not_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "ab.safetensors").write_bytes(b"no")
    with pytest.raises(CorruptError, match=r"ab\.safetensors is not what a run writes"):
        Outcomes(tmp_path).get("ab")


@given(st.lists(st.lists(st.floats(allow_infinity=False), min_size=2, max_size=2), min_size=1, max_size=5))
def test_statistics_come_back_as_they_were(rows: list[list[float]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        stats = np.array(rows)
        Outcomes(Path(folder)).put("ab", Outcome(stats, "accuracy", "cd"))
        found = Outcomes(Path(folder)).get("ab")
        assert found is not None
        assert np.array_equal(found.stats, stats, equal_nan=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_rejects_what_bonferroni_does_and_nothing_above_the_level(values: list[float]) -> None:
    found = holm(values)
    for p, rejected in zip(values, found, strict=True):
        assert rejected or p > 0.05 / len(values)
        assert not rejected or p <= 0.05
    assert all(found[i] >= found[j] for i, p in enumerate(values) for j, q in enumerate(values) if p < q)


def shown(command: Command, *arguments: object) -> str:
    ended = command("compare", *arguments)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def test_the_command_prints_differences_tests_and_what_they_do_not_say(
    command: Command, bottleneck: Path, head: Path
) -> None:
    out = shown(command, bottleneck, head)
    assert re.search(r"^after 3 +[+−0]", out, re.M)
    assert re.search(r"^toy-2 +\d+\.\d +\d+\.\d +[+−]?\d+\.\d\*? +[+−]?\d+\.\d to [+−]?\d+\.\d +\d\.\d{3}$", out, re.M)
    assert "seeds and orders are not in them" in " ".join(out.split())


def test_the_command_says_why_there_is_nothing_to_test(command: Command, bottleneck: Path, tmp_path: Path) -> None:
    same = shown(command, bottleneck, bottleneck)
    assert "note: both are the same run\n" in same
    assert "No cell differs in any row, so there is nothing to test; 95 % intervals over rows. One run" in same
    shutil.rmtree(altered(bottleneck, bare := tmp_path / "bare") / "rows")
    unpaired = shown(command, bottleneck, bare)
    assert "No cell has rows that can be paired, so nothing is tested. One run each" in unpaired
    assert "Holm" not in same + unpaired


def test_the_command_warns_where_the_runs_are_not_alike(command: Command, bottleneck: Path, tmp_path: Path) -> None:
    record: Record = load(bottleneck / "run.json")
    other = {"id": "x\x1b[31m", "code": "0" * 64, "scenario": "domain"}
    encoder = record.encoder.model_copy(update={"fingerprint": "0" * 64})
    out = shown(command, bottleneck, altered(bottleneck, tmp_path / "odd", encoder=encoder, **other))
    said = ["the encoders are not the same", "the scenarios differ: task and domain", "different versions"]
    assert all(words in " ".join(out.split()) for words in said)
    assert "\x1b" not in out


def test_the_command_says_what_is_missing(command: Command, tmp_path: Path) -> None:
    ended = command("compare", tmp_path / "a", tmp_path / "b")
    assert ended.code == 1
    assert "does not exist: give a finished run's folder" in ended.err
