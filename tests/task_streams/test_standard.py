"""The standard benchmark: its published orders, and the labels that two of its tasks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from continual.stream.base import Stream
from continual.stream.cl_benchmark import task
from continual.stream.classes import union
from continual.stream.lint import check
from continual.task_streams import standard

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def mirror() -> str:
    if not (DATA / "cl_benchmark").is_dir():
        pytest.skip(f"{DATA} is not there")
    return str(DATA)


def test_four_tasks_in_the_orders_of_o_lora_and_five_in_those_of_idbr() -> None:
    orders = standard.ORDERS
    assert {name: len(order) for name, order in orders.items()} == {
        **{f"order-{n}": 4 for n in (1, 2, 3)},
        **{f"order-{n}": 5 for n in (4, 5, 6, 7)},
        **{f"idbr-{n}": 3 for n in (1, 2, 3)},
    }
    assert len(set(orders.values())) == 10
    assert all(len(set(order)) == len(order) and set(order) <= set(standard.NAMES) for order in orders.values())
    assert {name for name, order in orders.items() if "yelp" not in order} == {"order-1", "order-2", "order-3"}


def test_the_four_tasks_are_clean_and_as_large_as_their_files(mirror: str) -> None:
    tasks = standard.tasks(mirror=mirror)
    assert [(task.name, len(task.labels), len(task.train) + len(task.valid), len(task.test)) for task in tasks] == [
        ("dbpedia", 14, 2000, 1000),
        ("amazon", 5, 2000, 1000),
        ("yahoo", 10, 1200, 600),
        ("agnews", 4, 1600, 1000),
    ]
    assert check(Stream("standard", tuple(tasks))) == []


def test_five_tasks_have_33_classes_as_yelp_and_amazon_share_theirs(mirror: str) -> None:
    tasks = standard.tasks("order-7", train=100, mirror=mirror)
    assert [task.name for task in tasks] == ["yelp", "agnews", "dbpedia", "amazon", "yahoo"]
    assert len(union(tasks)) == 33
    assert tasks[0].labels == tasks[3].labels
    assert check(Stream("standard", tuple(tasks))) == []


def test_a_task_is_the_same_in_every_order_and_in_the_long_sequence(mirror: str) -> None:
    here = {order: standard.tasks(order, shots=5, mirror=mirror) for order in ("order-1", "order-6", 3)}
    news = {found.digest for tasks in here.values() for found in tasks if found.name == "agnews"}
    assert news == {task("agnews", shots=5, mirror=mirror).digest}
