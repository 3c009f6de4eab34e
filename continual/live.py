"""The page of runs while they go on: ``/`` and ``/state``, from this machine to this machine, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from continual.curve import going_on
from continual.errors import ContinualError, one_line
from continual.files import canonical, sha256
from continual.report.dashboard import keys, render_all
from continual.report.going import going
from continual.report.losses import losses
from continual.report.part import Part, part
from continual.report.record import Record
from continual.report.scan import Skipped, candidates, scan

WATCHED = ("run.json", "begun.json", "ledger.jsonl", "modules.jsonl")
HOSTS = ("127.0.0.1", "localhost")


class Watched:
    """The runs below some places, those that are going on too, as a page that is made again when a file has changed."""

    def __init__(self, places: Sequence[Path]) -> None:
        self.places = tuple(places)
        self._lock = Lock()
        self._version, self._page = "", b""
        self._drawn: dict[str, tuple[Record, Part]] = {}
        self._going: dict[str, Path] = {}  # folders by what the page calls their runs

    def page(self) -> bytes:
        with self._lock:
            version = self.version()  # before the files are read: what changes meanwhile is another version
            if version != self._version:
                self._page, self._version = self._rendered(version).encode("utf-8"), version
            return self._page

    def state(self) -> bytes:
        """JSON: the version of the page that is due, and of each run that is going on the figure of its losses."""
        found = {key: going_on(folder / "losses.jsonl") for key, folder in self._going.items()}
        figures = {key: losses(trainings).island() for key, trainings in found.items() if trainings}
        return json.dumps({"page": self.version(), "losses": figures}, allow_nan=False).encode("utf-8")

    def version(self) -> str:
        """Of all files that the page is made of: names, times and sizes, for nobody wants to read them every second."""
        files = sorted({file.resolve() for place in self.places for file in candidates(place)})
        watched = [file.parent / name for file in files for name in WATCHED] + files
        return sha256(canonical([_stamp(file) for file in watched]))[:16]

    def _rendered(self, version: str) -> str:
        found = scan(self.places)
        finished = [run.record for run in found.runs]
        begun, skipped = list[tuple[Path, Record]](), list[Skipped]()
        for skip in found.skipped:
            folder = skip.path.parent
            try:
                if skip.path.exists() or not (folder / "begun.json").is_file():
                    skipped.append(skip)
                else:
                    begun.append((folder, going(folder)))
            except ContinualError as error:
                skipped.append(Skipped(skip.path, one_line(str(error))))
        begun.sort(key=lambda pair: pair[1].created, reverse=True)
        records = [*(record for _, record in begun), *finished]  # the newest first: it is the one that is looked at
        self._going = dict(zip(keys(records), (folder for folder, _ in begun), strict=False))
        return render_all(records, skipped, version, self._part)

    def _part(self, record: Record) -> Part:
        """Drawn anew only where the record is another: of many runs a new row changes one."""
        drawn = self._drawn.get(record.id)
        if drawn is None or drawn[0] != record:
            self._drawn[record.id] = drawn = record, part(record)
        return drawn[1]


def _stamp(file: Path) -> list[object]:
    try:
        facts = file.stat()
    except OSError:
        return [str(file)]
    return [str(file), facts.st_mtime_ns, facts.st_size]


class Server(ThreadingHTTPServer):
    """Bound to this machine. ``port`` 0: any that is free; ``server_port`` is the one."""

    daemon_threads = True

    def __init__(self, watched: Watched, port: int) -> None:
        self.watched = watched
        try:
            super().__init__((HOSTS[0], port), Handler)
        except (OSError, OverflowError) as error:
            raise ContinualError(f"port {port} cannot be had ({error}); choose another: --port N") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed, or loaded again, while it was sent is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers two addresses, to whoever asks for this machine by its own name."""

    server: Server  # type: ignore[assignment]
    server_version, sys_version = "continual", ""
    timeout = 30

    def parse_request(self) -> bool:
        """A name of another host is one that was made to lead here (DNS rebinding): its pages must not read ours."""
        if not super().parse_request():
            return False
        named = self.headers.get_all("Host") or []
        if [name.partition(":")[0] for name in named] not in ([host] for host in HOSTS):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.command != "GET" or self.path not in ("/", "/state"):
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            return True
        return False

    def do_GET(self) -> None:
        """The page, or its state."""
        try:
            page = self.path == "/"
            body = self.server.watched.page() if page else self.server.watched.state()
        except (ContinualError, OSError) as error:  # a run's folder may go away while it is read
            return self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=one_line(str(error)))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8" if page else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a page that looks every two seconds would fill the terminal."""
