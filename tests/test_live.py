"""The page of runs that go on: it follows their files, shows what there is, and answers nobody else."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continual import drive, live, trainer
from continual.errors import ContinualError
from continual.files import append_line
from continual.live import Server, Watched
from continual.report.going import going
from continual.report.part import part
from continual.report.record import load
from tests import running
from tests.report.browser import Opened, browser

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is in its third task."""
    root = tmp_path_factory.mktemp("stopped")

    def failing(model, requests, *rest):
        learned = trainer.learn(model, requests, *rest)
        if requests[0].name == "learn/toy-2":
            raise KeyboardInterrupt
        return learned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "learn", failing)
        with pytest.raises(KeyboardInterrupt):
            running.run(root)
    [folder] = (root / "runs").iterdir()
    return folder


@pytest.fixture
def runs(stopped: Path, tmp_path: Path) -> Path:
    shutil.copytree(stopped, tmp_path / "runs" / stopped.name)
    return tmp_path / "runs"


@pytest.fixture
def server(runs: Path) -> Iterator[Server]:
    with Server(Watched([runs]), 0) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def ask(server: Server, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, headers={"Host": host or f"localhost:{server.server_port}"})
    answer = connection.getresponse()
    body = answer.read().decode("utf-8")
    connection.close()
    return answer.status, body


def version(page: str) -> str:
    [found] = re.findall(r'data-page="(\w+)"', page)
    return found


def test_a_run_that_goes_on_is_shown_with_its_rows_so_far(server: Server, stopped: Path) -> None:
    status, page = ask(server, "/")
    assert status == 200
    assert "1 run · 1 stream · 1 not finished" in page
    [island] = re.findall(r'id="run-0">(.*?)</script>', page)
    scores = json.loads(island)["matrix"]["scores"]
    assert [sum(score is not None for score in row) for row in scores] == [3, 3, 3, 0]
    assert load(stopped / "begun.json").id == stopped.name


def test_the_state_has_the_losses_of_what_is_being_learned(server: Server, stopped: Path) -> None:
    ask(server, "/")
    status, text = ask(server, "/state")
    [figure] = json.loads(text)["losses"].values()
    assert status == 200
    assert [trace["name"] for trace in figure["data"]] == ["learn/toy-2"]
    assert figure["rows"][0][:2] == ["learn/toy-2", 1]


def test_the_page_is_another_when_a_row_was_added_and_the_same_when_a_loss_was(server: Server, runs: Path) -> None:
    [folder] = runs.iterdir()
    first = version(ask(server, "/")[1])
    with open(folder / "losses.jsonl", "a", encoding="utf-8") as file:
        file.write('{"name": "learn/toy-2", "step": 900, "loss": 0.5}\n')
    state = json.loads(ask(server, "/state")[1])
    assert state["page"] == first
    assert state["losses"][folder.name]["rows"][-1] == ["learn/toy-2", 900, 0.5]
    row = [cell.model_dump() | {"after": 2} for cell in load(folder / "begun.json").cells]
    append_line(folder / "ledger.jsonl", row)
    second = json.loads(ask(server, "/state")[1])["page"]
    assert second != first
    assert version(ask(server, "/")[1]) == second


def test_a_run_that_begins_and_one_that_ends_are_seen(server: Server, runs: Path, tmp_path: Path) -> None:
    first = version(ask(server, "/")[1])
    record = running.run(tmp_path, seed=1)
    page = ask(server, "/")[1]
    assert version(page) != first
    assert "2 runs · 1 stream · 1 not finished" in page
    assert record.id in page


def test_in_a_browser_the_losses_move_and_a_new_row_comes_by_itself(server: Server, runs: Path, browser: Any) -> None:
    [folder] = runs.iterdir()
    opened = Opened(browser, f"http://127.0.0.1:{server.server_port}/")
    opened.page.wait_for_selector("#fig-losses .legendtext:has-text('learn/toy-2')")
    assert {"matrix", "curves"} <= opened.drawn
    assert opened.page.locator("#fig-matrix").inner_text().count("after toy-2") == 1
    row = [cell.model_dump() for cell in going(folder).cells if cell.after == 1]
    append_line(folder / "ledger.jsonl", [cell | {"after": 2, "score": 0.125} for cell in row])
    opened.page.wait_for_selector("#fig-matrix text:has-text('12.5')")
    assert opened.said == []
    assert {url.rpartition("/")[2] for url in opened.asked if url.startswith("http")} == {"", "state"}
    opened.page.close()


def test_in_a_browser_an_error_is_not_taken_for_the_end(
    server: Server, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(browser, f"http://127.0.0.1:{server.server_port}/")
    opened.page.wait_for_selector("#live:has-text('live')")
    with monkeypatch.context() as patch:
        patch.setattr(server.watched, "state", _unreadable)
        opened.page.wait_for_selector("#live:has-text('cannot be read now (error 500)')")
    opened.page.wait_for_selector("#live:text-is('· live')")
    opened.page.close()


def _unreadable() -> bytes:
    raise ContinualError("läufe ✗ cannot be read")


def test_only_the_run_that_changed_is_drawn_again(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, drawn = running.run(tmp_path, seed=1), []
    monkeypatch.setattr(live, "part", lambda record: drawn.append(record.id) or part(record))
    watched, [folder] = Watched([runs]), [one for one in runs.iterdir() if one.name != record.id]
    assert record.id in watched.page().decode()
    assert sorted(drawn) == sorted([folder.name, record.id])
    row = [cell.model_dump() for cell in going(folder).cells if cell.after == 1]
    append_line(folder / "ledger.jsonl", [cell | {"after": 2, "score": 0.125} for cell in row])
    again = watched.page()
    assert drawn[2:] == [folder.name]
    assert again == Watched([runs]).page()


def test_a_damaged_run_is_listed_with_the_reason_and_the_others_are_shown(server: Server, runs: Path) -> None:
    (runs / "torn").mkdir()
    (runs / "torn" / "begun.json").write_text('{"id": ', encoding="utf-8")
    (runs / "torn" / "ledger.jsonl").write_text("", encoding="utf-8")
    page = ask(server, "/")[1]
    assert "1 run · 1 stream · 1 not finished · 1 skipped" in page
    assert "begun.json is not a run record" in page


@pytest.mark.parametrize("path", ["/runs", "/state/", "/../etc/passwd", "/?x", "/index.html", "/%2e%2e/state"])
def test_there_is_nothing_else(path: str, server: Server) -> None:
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "NONSENSE"])
def test_it_can_only_be_read(method: str, server: Server) -> None:
    assert ask(server, "/state", method)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.", "[::1]"])
def test_a_name_that_was_made_to_lead_here_reads_nothing(host: str, server: Server) -> None:
    status, body = ask(server, "/state", host=host)
    assert status == 403
    assert "losses" not in body


def test_a_page_that_is_closed_while_it_is_sent_prints_no_traceback(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.watched.page()
    before = threading.active_count()
    with socket.create_connection(("127.0.0.1", server.server_port)) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        asking.recv(1)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed with a reset
    ended = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < ended:
        time.sleep(0.01)
    assert capfd.readouterr().err == ""


def test_it_listens_on_this_machine_only_and_says_when_the_port_is_taken(server: Server, runs: Path) -> None:
    assert server.server_address[0] == "127.0.0.1"
    for port in (server.server_port, 70_000):
        with pytest.raises(ContinualError, match="--port"):
            Server(Watched([runs]), port)


def test_a_folder_that_went_away_is_an_error_and_no_end(server: Server, runs: Path) -> None:
    shutil.rmtree(runs)
    status, body = ask(server, "/")
    assert status == 500
    assert "does not exist" in body
    os.mkdir(runs)
    assert ask(server, "/")[0] == 200


def test_a_file_that_cannot_be_read_is_an_error_and_no_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> bytes:
        raise FileNotFoundError(2, "No such file", "läufe/✗/run.json")

    monkeypatch.setattr(server.watched, "page", gone)
    status, body = ask(server, "/")
    assert status == 500
    assert "läufe/✗/run.json" in body


def test_the_command_writes_one_page_and_says_what_was_skipped(command, runs: Path, tmp_path: Path) -> None:
    record = running.run(tmp_path, seed=1)
    ended = command("dash", runs)
    assert ended.code == 0
    assert "not finished" in ended.out
    assert ended.out.splitlines()[-2:] == ["runs       1", "dashboard  dashboard.html"]
    assert record.id in Path("dashboard.html").read_text(encoding="utf-8")


def test_where_no_run_is_finished_the_command_fails_and_writes_no_page(command, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, skipped in (("empty", 0), ("runs", 1)):
        ended = command("dash", folder)
        assert ended.code == 1
        assert f"continual dash: no finished run in {folder}: looked for run.json there" in ended.err
        assert ended.out.count("not finished: the same command goes on") == skipped
    assert not Path("dashboard.html").exists()


def test_the_command_says_where_it_could_not_write(command, runs: Path, tmp_path: Path) -> None:
    running.run(tmp_path, seed=1)
    ended = command("dash", "--out", "nowhere/page.html")
    assert (ended.code, "choose another place: --out FILE" in ended.err) == (1, True)
    ended = command("dash", "--out", ".")
    assert (ended.code, ended.err) == (1, "continual dash: . is a folder; expected a file: --out dashboard.html\n")


def test_the_command_says_where_runs_should_be_that_are_not(command) -> None:
    for option in ([], ["--live"]):
        ended = command("dash", "nowhere", *option)
        assert (ended.code, ended.err) == (
            1,
            "continual dash: nowhere does not exist; give a run's folder, or a folder of runs\n",
        )


def test_a_run_is_seen_by_its_own_folder_before_its_first_row(runs: Path) -> None:
    [folder] = runs.iterdir()
    for name in ("ledger.jsonl", "modules.jsonl"):
        (folder / name).unlink()
    assert "1 run · 1 stream · 1 not finished" in Watched([folder]).page().decode("utf-8")
