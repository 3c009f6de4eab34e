"""Reference runs: the numbers that they give, what they share, where they stop and go on, and what is refused."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console

from continual import drive, summary, trainer
from continual.composition.fusion import Fusion
from continual.drive import run_stream
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.ledger import REFERENCES
from continual.metric.base import metrics
from continual.orders import orders
from continual.parts import Parts
from continual.references import STRATEGIES, derived
from continual.reopen import reopen
from continual.report.figures import FIGURES
from continual.report.grid import headline, rows
from continual.report.record import CellFacts, Record, load
from continual.report.table import show
from continual.request import Learn, Learned, Recipe
from continual.router.mixture import Mixture
from continual.store import Store
from continual.strategy.base import Strategy
from continual.strategy.isolated import Isolated
from continual.strategy.joint import Joint
from continual.strategy.sequential import Sequential
from continual.stream.base import Scenario, Stream
from tests import mixed, running
from tests.strategy import lab

BOTH = ("single", "joint")
AGAINST = [name for name, metric in metrics().items() if metric.references(3)]
SHORT = Recipe(lr=0.02, epochs=2, batch_size=8)
"""Too short to be right everywhere: what a row is answered among all labels differs from what it is among its own."""


GIVEN: dict[str, Any] = {"strategy": Sequential(), "recipe": Recipe(lr=0.01, epochs=4, batch_size=8)}


def cells(record: Record, stage: str) -> dict[tuple[int, int], CellFacts]:
    return {(cell.after, cell.task): cell for cell in record.cells if cell.stage == stage and cell.how == "own"}


def values(record: Record, stage: str) -> dict[tuple[int, int], tuple[Any, ...]]:
    """All of a cell but its place and who forwarded it."""
    return {at: (c.score, c.n, c.low, c.high, c.key, c.why) for at, c in cells(record, stage).items()}


def stream(scenario: Scenario) -> Stream:
    """Three tasks of two labels; with "shared" each has one that the next task has too."""
    if scenario != "shared":
        return lab.stream(scenario)
    tasks = [replace(t, labels=(f"{k}", f"{k + 1}")) for k, t in enumerate(lab.stream("class").tasks)]
    return Stream("words", tuple(tasks), scenario)


def counted(monkeypatch: pytest.MonkeyPatch, stop: int = 0) -> list[str]:
    """The names of all requests from now on; the ``stop``-th is interrupted."""
    asked: list[str] = []

    def learn(model: AdaptedEncoder, requests: list[Learn], *rest: Any) -> list[Learned]:
        asked.extend(request.name for request in requests)
        if len(asked) == stop:
            raise KeyboardInterrupt
        return trainer.learn(model, requests, *rest)

    monkeypatch.setattr(drive, "learn", learn)
    return asked


def place(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("runs/*/run.json"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A sequential run with both references."""
    root = tmp_path_factory.mktemp("made")
    return root, running.run(root, **GIVEN, references=BOTH)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The three runs, each asked for by itself, with a store of its own."""
    strategies: dict[str, Strategy] = {"own": Sequential(), "single": Isolated(), "joint": Joint()}
    return {
        name: running.run(tmp_path_factory.mktemp(name), **{**GIVEN, "strategy": of}) for name, of in strategies.items()
    }


# The numbers


def test_the_cells_are_bit_for_bit_those_of_runs_that_were_asked_for_by_themselves(
    made: tuple[Path, Record], apart: dict[str, Record]
) -> None:
    _, record = made
    single, joint = values(apart["single"], "learn"), values(apart["joint"], "learn")
    assert values(record, "single") == {(k, k): single[k, k] for k in range(3)}
    assert values(record, "joint") == {(k, j): joint[k, j] for k in range(3) for j in range(k + 1)}
    own = [cell for cell in record.cells if cell.stage not in REFERENCES]
    assert own == apart["own"].cells


def test_the_metrics_are_differences_to_those_runs(made: tuple[Path, Record], apart: dict[str, Record]) -> None:
    own, single, joint = (
        {at: cell.score for at, cell in cells(apart[name], "learn").items() if cell.score is not None}
        for name in ("own", *BOTH)
    )
    zero = {c.task: c.score for c in apart["own"].cells if c.stage == "zero" and c.score is not None}
    gains = {j: joint[2, j] - zero[j] for j in range(3)}
    rates = [
        (own[2, j] - zero[j]) / gain for j, gain in gains.items() if gain
    ]  # where joint gains nothing there is none
    expected = {
        "intransigence": statistics.fmean(joint[k, k] - own[k, k] for k in range(3)),
        "rectified_forgetting": statistics.fmean(joint[2, j] - own[2, j] for j in range(3)),
        "forward_transfer_over_single": statistics.fmean(own[k, k] - single[k, k] for k in (1, 2)),
        "forgetting_rate": statistics.fmean(rates) - 1,
    }
    found = {name: made[1].metrics[name] for name in AGAINST}
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(expected)
    assert {metric.missing for metric in found.values()} == {0}
    assert len(set(expected.values())) > 2  # so that no two are mistaken for each other
    others = [name for name in metrics() if name not in AGAINST]
    assert all(made[1].metrics[name] == apart["own"].metrics[name] for name in others)
    assert all(apart["own"].metrics[name].value is None for name in AGAINST)


@pytest.mark.parametrize("scenario", get_args(Scenario))
def test_a_joint_run_loses_nothing_against_itself(tmp_path: Path, scenario: Scenario) -> None:
    given = {"stream": stream(scenario), "recipe": SHORT}
    record = lab.run(tmp_path, strategy=Joint(), references=("joint",), **given)
    assert record.metrics["intransigence"].value == 0
    assert record.metrics["rectified_forgetting"].value == 0
    assert values(record, "joint") == values(record, "learn")


@pytest.mark.parametrize("scenario", get_args(Scenario))
def test_an_independent_strategy_equals_its_own_single_models(tmp_path: Path, scenario: Scenario) -> None:
    given = {"stream": stream(scenario), "recipe": SHORT}
    record = lab.run(tmp_path, strategy=Isolated(), references=("single",), **given)
    own = values(record, "learn")
    assert values(record, "single") == {(k, k): own[k, k] for k in range(3)}
    assert record.metrics["forward_transfer_over_single"].value == 0


@pytest.mark.parametrize("scenario", ["class", "shared"])
@pytest.mark.parametrize(("strategy", "stage"), [(Sequential(), "learn"), (Isolated(), "oracle")])
def test_who_is_told_the_task_is_compared_with_a_joint_model_that_is_told_it(
    tmp_path: Path, strategy: Strategy, stage: str, scenario: Scenario
) -> None:
    """Of labels that are each task's own, the joint model is scored among all so far, and among the task's."""
    given = {"stream": stream(scenario), "recipe": SHORT}
    joint = lab.run(tmp_path / "joint", strategy=Joint(), **given)
    assert values(joint, "learn") != values(joint, "oracle")
    record = lab.run(tmp_path / "run", strategy=strategy, references=("joint",), **given)
    assert values(record, "joint") == values(joint, stage)


def test_the_references_have_the_order_of_the_run(tmp_path: Path) -> None:
    tasks = running.stream().tasks
    turned = Stream("toy", (tasks[2], tasks[0], tasks[1]))
    one, other = (
        running.run(tmp_path / str(i), strategy=Sequential(), references=BOTH, stream=stream)
        for i, stream in enumerate((running.stream(), turned))
    )
    by_name = [{r.tasks[j].name: v for (_, j), v in values(r, "single").items()} for r in (one, other)]
    assert by_name[0] == by_name[1]  # alone a task does not know where it stands
    alone = Stream("toy", tasks[2:])
    first = running.run(tmp_path / "alone", strategy=Joint(), stream=alone)
    assert values(other, "joint")[0, 0][0] == values(first, "learn")[0, 0][0]


# What they share


def test_references_have_the_id_folder_and_modules_of_runs_that_were_asked_for_by_themselves(tmp_path: Path) -> None:
    given = {"strategy": Sequential(), "compositions": (Fusion(),), "router": Mixture(), "target": "toy-1"}
    parts = running.parts(tmp_path, references=BOTH, **given)
    runs = [running.parts(tmp_path, strategy=STRATEGIES[name]()).run_id for name in BOTH]
    assert [reference.run_id for reference in derived(parts).values()] == runs
    run_stream(parts)
    assert place(tmp_path) == sorted([parts.run_id, *runs])
    store = Store(tmp_path / "store")
    modules = {module.name for run in runs for module in load(tmp_path / "runs" / run / "run.json").modules}
    kinds = ("bottleneck", "bottleneck.joint")
    assert modules == {f"toy.toy-{k}.{kind}" for k in range(3) for kind in kinds} <= set(store.names())
    assert all(store.versions(name) == [1] for name in store.names())


def test_a_reference_that_was_made_before_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running.run(tmp_path, strategy=Joint())
    asked = counted(monkeypatch)
    running.run(tmp_path, strategy=Sequential(), references=("joint",))
    assert len(asked) == 3
    running.run(tmp_path, strategy=Isolated(), references=("joint",))
    assert len(asked) == 6


def test_a_finished_run_does_not_need_its_references_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = running.parts(tmp_path, strategy=Sequential(), references=("joint",))
    record = run_stream(parts)
    [joint] = derived(parts).values()
    (tmp_path / "runs" / joint.run_id / "run.json").unlink()
    asked = counted(monkeypatch)
    assert run_stream(parts) == record
    assert asked == []


def test_the_id_depends_on_the_references_and_not_on_their_order() -> None:
    ids = [running.parts(Path("nowhere"), references=r).run_id for r in ((), ("single",), ("joint",), BOTH, BOTH[::-1])]
    assert len(set(ids)) == 4
    assert ids[3] == ids[4]


# Stops


@pytest.mark.parametrize("stop", [2, 5, 8])  # in the single reference, in the joint one, in the run
def test_a_stopped_run_goes_on_where_it_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[Path, Record], stop: int
) -> None:
    given = {**GIVEN, "references": BOTH}
    with monkeypatch.context() as patch:
        before = counted(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            running.run(tmp_path, **given)
    asked = counted(monkeypatch)
    record = running.run(tmp_path, **given)
    assert len(before) - 1 + len(asked) == 9
    assert running.results(record) == running.results(made[1])
    assert running.results(running.run(tmp_path, **given)) == running.results(made[1])


def test_the_cells_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[Path, Record]) -> None:
    def torn(*_: object) -> None:
        raise KeyboardInterrupt

    given = {**GIVEN, "references": BOTH}
    with monkeypatch.context() as patch:
        real = summary.save
        patch.setattr(summary, "save", lambda record, path: torn() if cells(record, "joint") else real(record, path))
        with pytest.raises(KeyboardInterrupt):
            running.run(tmp_path, **given)
    parts = running.parts(tmp_path, **given)
    ledger = tmp_path / "runs" / parts.run_id / "ledger.jsonl"
    before = ledger.read_bytes()
    assert running.results(run_stream(parts)) == running.results(made[1])
    assert ledger.read_bytes() == before


# What is refused, and what is said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("other",), "unknown references 'other'; choose from: joint, single"),
        (("joint", "joint"), "references has joint twice; name each once: single, joint"),
    ],
)
def test_a_wrong_reference_is_refused(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(ContinualError, match=said):
        running.parts(Path("nowhere"), references=given)


def test_a_stream_that_one_head_cannot_answer_is_refused_when_the_run_is_built(tmp_path: Path) -> None:
    stream = Stream("mixed", tuple(mixed.tasks(heads=("topic", "degree"))))
    said = "the reference joint is a run of its own with strategy=joint, which is refused: one head answers all tasks"
    with pytest.raises(ContinualError, match=said) as error:
        running.parts(tmp_path, stream=stream, references=BOTH)
    assert str(error.value).endswith("without joint in references this run can be made")
    assert list(tmp_path.iterdir()) == []
    record = running.run(tmp_path, stream=stream, references=("single",))
    assert record.metrics["forward_transfer_over_single"].value == 0


def test_a_reference_that_failed_is_said_and_its_cells_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(model: AdaptedEncoder, requests: list[Learn], *rest: Any) -> list[Learned]:
        [learned] = trainer.learn(model, requests, *rest)
        assert requests[0].stage is not None
        joint = isinstance(requests[0].strategy, Joint) and requests[0].name == "learn/toy-1"
        bad = {key: tensor * float("nan") for key, tensor in learned.head_params.items()}
        return [trainer.Learned(**{**vars(learned), "head_params": bad})] if joint else [learned]

    monkeypatch.setattr(drive, "learn", learn)
    parts = running.parts(tmp_path, references=("joint",))
    record = run_stream(parts)
    [joint] = derived(parts).values()
    assert f"the reference joint, run {joint.run_id}: finished with failures" in record.warnings
    assert record.metrics["intransigence"].missing == 1
    assert cells(record, "joint")[1, 1].why == "its training diverged"


# What is shown


def test_table_and_page_have_the_matrix_of_the_run_alone(
    made: tuple[Path, Record], apart: dict[str, Record], capsys: pytest.CaptureFixture[str]
) -> None:
    _, record = made
    assert rows(record) == rows(apart["own"])
    assert all(panel.draw(record) == panel.draw(apart["own"]) for name, panel in FIGURES.items() if name != "costs")
    show(record, Console(width=200))
    shown = capsys.readouterr().out
    for name, metric in headline(record):
        assert f"{name}@" in shown
        assert metric.value is not None
    assert set(AGAINST) < {name for name, _ in headline(record)}
    assert not set(AGAINST) & {name for name, _ in headline(apart["own"])}


def test_other_orders_leave_references_out_and_say_so(tmp_path: Path) -> None:
    given = running.parts(tmp_path, references=BOTH)
    record = run_stream(given)
    model = AdaptedEncoder(given.encoder)
    try:
        found = orders(given, model)
    finally:
        model.release()
    assert found.notes == ["metrics against references are not counted here: theirs are of the run's own order"]
    assert not set(AGAINST) & set(found.metrics)
    assert found.run.metrics == {n: None if n in AGAINST else m.value for n, m in record.metrics.items()}


# The command


@pytest.fixture
def finished(command: Callable[..., running.Ended], tmp_path: Path) -> tuple[running.Ended, Parts]:
    encoder = running.saved_encoder(tmp_path / "encoder")
    given = [f"encoder.name={encoder}", "composition=[]", "strategy=sequential", "method=lora", "logger=csv"]
    ended = command("run", *running.OVERRIDES, *given, "references=[single,joint]", "router=mixture", "target=toy-0")
    [own] = [path for path in tmp_path.glob("runs/*") if load(path / "run.json").strategy == "sequential"]
    return ended, reopen(own)


def test_the_command_makes_runs_that_can_be_opened_again(finished: tuple[running.Ended, Parts]) -> None:
    ended, parts = finished
    assert (ended.code, parts.references) == (0, BOTH)
    assert "Intransigence" in ended.out
    folders = {name: parts.runs / reference.run_id for name, reference in derived(parts).items()}
    for name, folder in folders.items():
        assert type(reopen(folder).strategy) is STRATEGIES[name]
        assert not (folder / "csv").exists()
    table = next((parts.runs / parts.run_id / "csv").rglob("metrics.csv")).read_text()
    assert "metric/intransigence" in table


def test_the_record_of_a_benchmark_counts_what_the_run_itself_used_again(
    finished: tuple[running.Ended, Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = finished[1]
    record = load(parts.runs / parts.run_id / "run.json")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks" / "streams"))
    kept = importlib.import_module("compact").compact(record, "none", ["experiment=x"], "cpu")
    assert kept["reused"] == sum(cell.reused for cell in record.cells if cell.stage in ("zero", "learn"))
    assert kept["learn"][2][:2] == [round(cells(record, "learn")[2, task].score or 0, 6) for task in range(2)]
