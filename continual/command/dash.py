"""``continual dash``: all runs on one page, written as a file or served while they go on."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from continual.errors import ContinualError


def main(arguments: Sequence[str]) -> int:
    """Write the page, and say what is on it and what was skipped; with ``--live`` serve it until Ctrl-C."""
    parser = ArgumentParser(
        "continual dash",
        description="One page over runs: figures over all of a stream, each run by itself, and one run minus another. "
        "It is one file, opens in any browser, and needs no network.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", metavar="RUN_OR_FOLDER", nargs="*", default=["runs"], help="default: runs")
    parser.add_argument("--out", metavar="FILE", default="dashboard.html", help="default: dashboard.html")
    parser.add_argument("--live", action="store_true", help="serve it on this machine, runs that are going on too")
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="of --live; 0: any (default: 8765)")
    given = parser.parse_args(arguments)
    places = [Path(place) for place in given.runs]
    return _serve(places, given.port) if given.live else _write(places, Path(given.out))


def _write(places: Sequence[Path], out: Path) -> int:
    from continual.files import write_atomic
    from continual.report.dashboard import render_all
    from continual.report.grid import plain
    from continual.report.scan import scan

    if out.is_dir():
        raise ContinualError(f"{out} is a folder; expected a file: --out {out / 'dashboard.html'}")
    found = scan(places)
    for skipped in found.skipped:
        print(f"skipped    {plain(str(skipped.path))}: {plain(skipped.why)}")
    if not found.runs:
        raise ContinualError(
            f"no finished run in {', '.join(map(str, places))}: looked for run.json there and in each folder there; "
            "continual run makes one, and continual dash --live shows it meanwhile"
        )
    try:
        write_atomic(out, render_all([run.record for run in found.runs], found.skipped).encode("utf-8"))
    except OSError as error:
        raise ContinualError(f"cannot write {out} ({error.strerror}); choose another place: --out FILE") from error
    print(f"runs       {len(found.runs)}\ndashboard  {out}")
    return 0


def _serve(places: Sequence[Path], port: int) -> int:
    from continual.live import Server, Watched

    watched = Watched(places)
    watched.version()  # a place that is not there is said now
    with Server(watched, port) as server:
        print(f"dashboard  http://127.0.0.1:{server.server_port}/   (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
