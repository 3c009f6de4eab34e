"""Pages in a real browser: their policy lets plotly draw, they work by mouse and keyboard, and nothing is fetched."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from continual.report.dashboard import render, render_all
from continual.report.figures import FIGURES, OVERVIEW

from .browser import Opened, absent, browser, opened
from .sample import FIFTEEN, FOUR, HOSTILE, drawn, record, routed

__all__ = ["browser"]  # a fixture

NAMES = (HOSTILE, "</script><img src=x onerror=alert(1)>", "%{x} &amp; <b>", '=cmd("x", 1)')
TURNED = (FOUR[1], FOUR[0], *FOUR[2:])


@pytest.fixture(scope="module")
def one(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return opened(browser, render(routed(record())), tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def several(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Runs of two seeds and two orders; a routed one with compositions; one whose every name is hostile."""
    runs = [drawn(seed, order, id=f"run{seed}{order[0]}") for seed in (0, 1) for order in (FOUR, TURNED)]
    full = routed(record()).model_copy(update={"id": "full", "strategy": "replay"})
    hostile = routed(record(NAMES)).model_copy(update={"id": HOSTILE, "stream": HOSTILE, "method": HOSTILE})
    return opened(browser, render_all([*runs, full, hostile]), tmp_path_factory.mktemp("several"))


def test_every_figure_is_drawn_the_console_is_silent_and_nothing_is_fetched(one: Opened) -> None:
    assert one.drawn == set(FIGURES)
    assert one.page.locator("#fig-matrix").inner_text().count("~53.4") == 1
    assert one.said == []
    assert [url for url in one.asked if not url.startswith(("file:", "data:"))] == []


def test_a_figure_that_cannot_be_drawn_is_said_and_stops_no_other(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, render(record()), tmp_path)
    assert page.drawn
    page.page.evaluate(
        "enter('curves', {...shown.get('curves'), layout: null}); enter('matrix', {...shown.get('matrix'), data: []})"
    )
    page.page.wait_for_selector("#fig-matrix:not(:has(.hm))", timeout=5000)
    assert len(page.said) == 1
    page.page.close()


def test_figures_save_as_svg_and_png_and_their_data_as_csv(one: Opened) -> None:
    assert one.drawn
    svg = one.saved("Transfer per task: save as SVG").decode()
    assert svg.startswith("<svg")
    assert "backward" in svg
    png = one.saved("Fusion attention: save as PNG")
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5000
    rows = list(csv.reader(io.StringIO(one.saved("Accuracy matrix: save as CSV").decode(), newline="")))
    assert rows[0] == ["after", "task", "score", "low", "high", "rows", "how"]
    assert len(rows) == 1 + 20
    assert rows[1][:2] == ["before any task", "rte"]
    assert one.said == []


def test_the_numbers_of_every_figure_can_be_read_as_text(one: Opened) -> None:
    assert one.drawn
    summaries = one.page.get_by_text("Numbers as text")
    assert summaries.count() == len(FIGURES)
    summaries.nth(list(FIGURES).index("graph")).click()
    text = one.page.get_by_role("region", name="numbers").inner_text()
    assert "learning\tchanged\tpoints" in text
    assert len(text.splitlines()) == 1 + 12
    summaries.nth(list(FIGURES).index("graph")).click()
    assert one.page.get_by_role("region", name="numbers").count() == 0


def test_a_run_that_is_picked_takes_the_place_of_the_other_and_stays_in_the_address(several: Opened) -> None:
    several.picked(run="full", **{"with": ""})
    assert several.drawn == set(FIGURES) | set(OVERVIEW)
    several.picked(run="run1rte")
    assert several.drawn == {"matrix", "curves", "transfer", "graph", "costs"} | set(OVERVIEW)
    assert "run=run1rte" in several.page.url
    assert several.page.locator("#one header h1").inner_text() == "glue-four"
    several.page.reload()
    assert several.page.locator("#run").input_value() == "run1rte"
    assert "run1rte" in several.page.locator("#one header").inner_text()


def test_a_run_can_be_followed_from_the_table_of_runs(several: Opened) -> None:
    several.picked(stream="glue-four", run="full")
    several.page.get_by_role("link", name="run0mrpc").click()
    assert "run0mrpc" in several.page.locator("#one header").inner_text()
    assert several.page.locator("tr.picked").inner_text().startswith("run0mrpc")


def test_the_difference_of_two_runs_is_cell_by_cell(several: Opened) -> None:
    several.picked(run="run0rte", **{"with": "full"})
    assert "difference" in several.drawn
    rows = csv.reader(io.StringIO(several.saved("Run A minus run B: save as CSV").decode(), newline=""))
    assert {row[2] for row in list(rows)[1:]} == {"0"}  # one has what the other has, and routes besides
    several.picked(run="run0rte", **{"with": "run0mrpc"})
    assert "difference" in several.drawn
    table = list(csv.reader(io.StringIO(several.saved("Run A minus run B: save as CSV").decode(), newline="")))
    assert [row[0] for row in table[1::4]] == ["before any task", *(f"after {name}" for name in FOUR[1:])]
    assert "of 5 rows these 4" in several.page.locator("#difference-says").inner_text()
    several.picked(**{"with": ""})
    assert not several.page.locator("#difference").is_visible()


def test_runs_of_other_tasks_have_no_difference_and_it_is_said_why(several: Opened) -> None:
    several.picked(run="full", **{"with": HOSTILE})
    says = several.page.locator("#difference-says").inner_text()
    assert "Only A has rte, mrpc, sst2, subj." in says
    assert f"Only B has {NAMES[0]}" in says
    assert not several.page.locator("#fig-difference").is_visible()


def test_hostile_names_run_nothing_and_are_shown_as_they_are(several: Opened) -> None:
    several.picked(stream=HOSTILE, run=HOSTILE)
    assert set(FIGURES) <= several.drawn
    assert several.page.locator("main img, main b b, main script").count() == 0
    assert HOSTILE in several.page.locator("#one h1").inner_text()
    assert NAMES[2] in several.page.locator("#fig-matrix").inner_text()
    several.page.locator("#one").get_by_text("Numbers as text").first.click()
    assert NAMES[1] in several.page.locator("#one").get_by_role("region", name="numbers").inner_text()
    assert several.said == []
    assert [url for url in several.asked if not url.startswith(("file:", "data:"))] == []


def test_a_formula_in_a_name_is_text_in_a_spreadsheet(several: Opened) -> None:
    several.picked(run=HOSTILE)
    assert set(FIGURES) <= several.drawn
    rows = list(csv.reader(io.StringIO(several.saved("Accuracy matrix: save as CSV").decode(), newline="")))
    assert {row[1] for row in rows[1:]} == {*NAMES[:3], "'" + NAMES[3]}


def test_figures_take_the_colours_of_the_page_when_it_turns_dark(several: Opened) -> None:
    def colour() -> str:
        assert several.drawn
        return several.page.locator("#fig-curves text").first.evaluate("text => getComputedStyle(text).fill")

    several.picked(run="full", stream="glue-four", **{"with": ""})
    assert set(FIGURES) <= several.drawn
    several.picked(run="run0rte")
    there = several.drawn
    several.page.emulate_media(color_scheme="light")
    light = colour()
    several.page.emulate_media(color_scheme="dark")
    dark = colour()
    assert several.drawn == there  # what this run lacks is not drawn again either
    several.page.emulate_media(color_scheme="light")
    assert (light, dark) == ("rgb(29, 33, 38)", "rgb(232, 234, 236)")


@pytest.mark.parametrize("width", [360, 820])
def test_a_narrow_page_is_as_wide_as_the_screen(width: int, several: Opened) -> None:
    several.picked(run="full", **{"with": "run0rte"})
    several.page.set_viewport_size({"width": width, "height": 800})
    assert several.drawn
    assert several.page.evaluate("() => document.documentElement.scrollWidth") == width
    several.page.set_viewport_size({"width": 1280, "height": 800})


def test_all_is_reached_and_used_by_keyboard_and_the_focus_is_seen(several: Opened) -> None:
    several.picked(stream="glue-four", run="run0rte", **{"with": ""})
    assert several.drawn
    several.page.locator("#run").focus()
    several.page.keyboard.press("ArrowDown")
    assert several.page.locator("#run").input_value() == "run0mrpc"
    assert several.drawn
    several.page.keyboard.press("Tab")
    assert several.page.evaluate("() => document.activeElement.id") == "with"
    reached = set[str]()
    for _ in range(40):
        several.page.keyboard.press("Tab")
        reached.add(several.page.evaluate("() => document.activeElement.getAttribute('aria-label')") or "")
        if several.page.evaluate("() => document.activeElement.tagName") == "BUTTON":
            style = "() => getComputedStyle(document.activeElement).outlineStyle"
            assert several.page.evaluate(style) == "solid"
    assert {"Accuracy matrix: save as CSV", "Costs: save as SVG"} <= reached


def test_a_hundred_runs_of_fifteen_tasks_open(browser: Any, tmp_path: Any) -> None:
    """In how many seconds is a benchmark (``benchmarks/dash``)."""
    runs = [record(FIFTEEN).model_copy(update={"id": f"run{number}", "seed": number}) for number in range(100)]
    page = opened(browser, render_all(runs), tmp_path)
    assert {"matrix", "pareto", "attention"} <= page.drawn
    assert page.said == []
    page.page.close()


def test_a_browser_that_is_not_there_is_a_failure_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTINUAL_BROWSER", "required")
    with pytest.raises(pytest.fail.Exception):
        absent("none")
    monkeypatch.delenv("CONTINUAL_BROWSER")
    with pytest.raises(pytest.skip.Exception):
        absent("none")


def test_a_script_that_the_policy_does_not_name_is_refused(browser: Any, tmp_path: Any) -> None:
    page = opened(browser, render(record()).replace('"use strict";', '"use strict"; '), tmp_path)
    assert page.page.query_selector_all(".js-plotly-plot") == []
    assert any("Content Security Policy" in line for line in page.said)
    page.page.close()
