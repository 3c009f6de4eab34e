"""The page: one file, nothing from outside, every name as text."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from continual.report.dashboard import render, render_all, write
from continual.report.figures import FIGURES
from continual.report.part import part
from continual.report.record import Record
from continual.report.scan import Skipped

from .sample import FIFTEEN, FOUR, HOSTILE, drawn, record, routed

NAMES = [HOSTILE, "</script><img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "<!--<script>", "$title ${x}"]
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Tags with attributes, ids, the text outside scripts, and the scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text, self.scripts = "", []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        elif self.open and self.open[-1] != "style":
            self.text += data

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]

    def island(self, name: str):
        return json.loads(next(text for attrs, text in self.scripts if attrs.get("id") == name))

    @property
    def policy(self) -> dict[str, str]:
        content = next(a["content"] for t, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")
        return dict(part.strip().split(" ", 1) for part in content.split(";"))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(routed(record())))


@pytest.fixture(scope="module")
def several() -> Page:
    """Two streams, and what is none."""
    runs = [drawn(seed, order) for seed in range(2) for order in (FOUR, FOUR[::-1])]
    other = routed(record(("a", "b"))).model_copy(update={"id": "other", "stream": "letters"})
    return Page(render_all([*runs, other], [Skipped(Path("runs/odd"), "no run: it has no run.json")]))


def test_nothing_is_loaded_from_outside(page, several):
    for tag, attrs in page.tags + several.tags:
        assert tag not in ("link", "iframe", "object", "base", "img")
        assert not {"src", "action", "data", "srcset"} & set(attrs)
        assert attrs.get("href", "#").startswith("#")


def test_policy_allows_only_the_two_scripts_that_are_there(page):
    policy = page.policy
    others = {"style-src": "'unsafe-inline'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert policy == {"default-src": "'none'", "script-src": policy["script-src"], **others}
    executed = [text for attrs, text in page.scripts if "type" not in attrs]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in executed]
    assert policy["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert len(digests) == 2
    assert page.tags.index(next(t for t in page.tags if "http-equiv" in t[1])) < next(
        number for number, (tag, _) in enumerate(page.tags) if tag == "script"
    )


def test_every_figure_has_its_id_once_also_where_it_is_absent(page):
    expected = sorted(f"fig-{name}" for name in FIGURES)
    assert sorted(i for i in page.ids if i.startswith("fig-")) == expected
    bare = Page(render(record(("a",))))
    assert sorted(i for i in bare.ids if i.startswith("fig-")) == expected
    assert set(bare.island("run-0")["figures"]) == {"matrix", "curves", "costs"}
    assert "Transfer is between tasks" in bare.text


def test_the_record_can_be_read_back_from_the_page(page):
    assert Record.model_validate(page.island("record")) == routed(record())


def test_metrics_are_tiles_with_value_formula_and_definition(page):
    for words in ("Average accuracy", "83.0", "R[T−1,j]", "average_accuracy@1"):
        assert words in page.text
    assert [attrs.get("class") for _, attrs in page.tags].count("tile") == 5  # the others are in the embedded record


def test_a_formula_is_not_shown_for_a_value_of_another_version():
    run = record()
    old = run.metrics["forgetting"].model_copy(update={"definition": "forgetting@0"})
    text = Page(render(run.model_copy(update={"metrics": {"forgetting": old}}))).text
    assert "forgetting@0" in text
    assert "max R" not in text


def test_missing_cells_divergence_and_warnings_are_said():
    text = Page(render(record(diverged=1, missing=True))).text
    assert "finished with failures" in text
    assert "mrpc-lora diverged: the loss became NaN at step 12" in text
    assert "4 cells missing, left out" in text
    assert "3 texts are longer" in text


def test_a_changed_encoder_is_said():
    assert "do not trust" in Page(render(record().model_copy(update={"encoder_unchanged": False}))).text


def test_modules_are_a_plain_table(page):
    rows = sum(tag == "tr" for tag, _ in page.tags)
    assert rows == 1 + len(record().modules) + 1 + len(FOUR) + 1  # the second table is the router's
    assert "148,226" in page.text


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_text_everywhere(name):
    run = record((name, "b"))
    run = run.model_copy(update={"stream": name, "method": name, "warnings": [name], "config": {name: name}})
    page = Page(render(run))
    assert not page.open  # no name opened or closed an element
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in Page(render(record())).tags}
    assert page.island("record")["tasks"][0]["name"] == name
    assert name in page.text
    assert not any(attr.startswith("on") for _, attrs in page.tags for attr in attrs)


def test_no_name_turns_the_text_around_not_even_among_the_facts_of_the_configuration():
    body = part(record(("a\u202eb", "c"))).body
    assert "\u202e" not in body
    assert "&quot;a\ufffdb&quot;: &quot;" in body


@pytest.mark.parametrize("run", [record(FIFTEEN), record(compositions=False), record(missing=True)])
def test_every_kind_of_run_has_a_well_formed_page(run):
    page = Page(render(run))
    assert not page.open
    assert len(page.ids) == len(set(page.ids))


def test_one_record_gives_one_page():
    assert render(record()) == render(record())


def test_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "dashboard.html"
    path.write_text("old")
    write(record(), path)
    assert path.read_text(encoding="utf-8") == render(record())
    assert os.listdir(tmp_path) == ["dashboard.html"]


def test_each_run_waits_in_a_template_and_an_island_until_it_is_picked(several):
    bodies = [attrs["id"] for tag, attrs in several.tags if tag == "template"]
    assert bodies == [*(f"body-run-{number}" for number in range(5)), "body-stream-0", "body-stream-1"]
    picked = [attrs.get("data-part") for tag, attrs in several.tags if tag == "option" and attrs.get("value")]
    assert {f"body-{part}" for part in picked} == set(bodies)
    assert set(several.island("run-4")["figures"]) > {"matrix", "confusion", "attention"}
    assert several.island("run-0")["matrix"]["tasks"] == list(FOUR)
    assert several.island("stream-0")["figures"].keys() == {"pareto", "transfers", "sensitivity"}


def test_the_page_says_what_is_on_it_and_what_was_skipped_and_why(several):
    assert "5 runs · 2 streams · 1 skipped" in several.text
    assert "runs/odd" in several.text
    assert "no run: it has no run.json" in several.text


def test_runs_of_one_id_can_both_be_picked():
    page = Page(render_all([record(), record()]))
    values = [attrs["value"] for tag, attrs in page.tags if tag == "option" and attrs["value"]]
    assert values[1:3] == ["3f9c0a7be1d2", "3f9c0a7be1d2 (2)"]


def test_a_page_of_no_run_says_how_to_make_one():
    page = Page(render_all([]))
    assert not page.open
    assert "0 runs · 0 streams" in page.text
    assert "continual run makes one" in page.text


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_text_on_a_page_of_several_too(name, several):
    run = routed(record((name, "b"))).model_copy(update={"stream": name, "method": name, "strategy": name, "id": name})
    page = Page(render_all([run], [Skipped(Path(name), name)]))
    assert not page.open
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in several.tags} | {"ul", "li"}
    assert name in page.text
    assert not any(attr.startswith("on") for _, attrs in page.tags for attr in attrs)
    assert "run-0" in page.ids


def test_a_live_page_may_ask_its_own_server_and_no_other_page_may_ask_anyone():
    live = render_all([record()], version="abc")
    assert Page(live).policy["connect-src"] == "'self'"
    assert re.search('<html lang="en" data-page="abc">', live)
    assert "connect-src" not in Page(render_all([record()])).policy
    assert "connect-src" not in Page(render(record())).policy
