"""Orders by name, list and seed, of tasks and of names."""

from __future__ import annotations

from typing import Any

import pytest

from continual.errors import DataError
from continual.stream.base import Task
from continual.stream.order import arrange, arranged

NAMES = ["agnews", "amazon", "dbpedia", "yahoo", "yelp"]
ORDERS = {"order-1": ["dbpedia", "amazon", "yahoo", "agnews"], "order-2": ["yahoo", "yelp"]}


def test_no_order_is_the_order_of_the_list() -> None:
    assert arrange(NAMES, None, ORDERS) == NAMES


def test_a_published_order_goes_by_its_name_and_may_leave_tasks_out() -> None:
    assert arrange(NAMES, "order-1", ORDERS) == ORDERS["order-1"]


def test_a_list_is_taken_as_it_is() -> None:
    assert arrange(NAMES, ("yelp", "agnews")) == ["yelp", "agnews"]


def test_a_seed_shuffles_all_and_depends_on_nothing_else() -> None:
    seen = [arrange(NAMES, seed) for seed in range(60)]
    assert all(sorted(order) == NAMES for order in seen)
    assert seen == [arrange(NAMES, seed) for seed in range(60)]
    assert {order[0] for order in seen} == {order[-1] for order in seen} == set(NAMES), (
        "each task comes first, and last"
    )
    assert [NAMES.index(name) for name in seen[3]] == [list("vwxyz").index(name) for name in arrange("vwxyz", 3)]
    assert arrange(NAMES, 0) == ["yelp", "yahoo", "amazon", "dbpedia", "agnews"], "the same in all versions"


def test_tasks_are_arranged_as_their_names_are() -> None:
    tasks = [Task(name, (), [], [], []) for name in NAMES]
    for order in (None, "order-2", ["yahoo"], 5):
        assert [task.name for task in arranged(tasks, order, ORDERS)] == arrange(NAMES, order, ORDERS)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("order-9", r"unknown published order 'order-9'; choose from: order-1, order-2; or give a list of task names"),
        (["yelp", "imdb"], r"order: unknown task 'imdb'; choose from: agnews, amazon"),
        (["yelp", "agnews", "yelp"], r"order: task 'yelp' stands there 2 times"),
        ([], r"expected null, .* or an integer, got \[\]"),
        (1.5, r"got 1\.5"),
        (True, r"got True"),
    ],
)
def test_what_is_no_order_is_refused_with_the_choices(order: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        arrange(NAMES, order, ORDERS)


def test_without_published_orders_the_error_says_so() -> None:
    with pytest.raises(DataError, match="this stream has none; give a list of class names"):
        arrange(NAMES, "order-1", what="class")
