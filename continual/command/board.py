"""``continual board``: rules, runs, the table; what it is worth (verify), and other formats of it (export)."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

from continual.errors import ContinualError, counted, unknown
from continual.report.grid import plain, points

GENERATED = ("LEADERBOARD.md", "leaderboard.csv", "leaderboard.parquet")


def main(arguments: Sequence[str]) -> int:
    """Of a board's folder alone: check its records, write its pages, print it."""
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    return _board(arguments)


def _board(arguments: Sequence[str]) -> int:
    words = (
        f"Every record is checked again; {', '.join(GENERATED)} are written. Also: {', '.join(COMMANDS)} (… --help)."
    )
    parser = ArgumentParser("continual board", description=words, allow_abbrev=False)
    parser.add_argument("board", metavar="BOARD", type=Path, help="the board's folder (a folder named new: ./new)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where LEADERBOARD.md is old")
    given = parser.parse_args(arguments)
    from continual.board import lines, page
    from continual.board.standings import open_board
    from continual.board.table import show
    from continual.files import write_atomic

    board, target = open_board(given.board), given.board / GENERATED[0]
    text = page.render(board).encode("utf-8")
    if given.check:
        if not target.exists() or target.read_bytes() != text:
            raise ContinualError(f"{target} is not what the records say: continual board {given.board}")
    else:
        for name, data in zip(GENERATED, (text, lines.to_csv(board), lines.to_parquet(board)), strict=True):
            write_atomic(given.board / name, data)
    show(board)
    return 1 if board.rejected else 0


def _new(arguments: Sequence[str]) -> int:
    parser = _parser(
        "new", "Rules in a new folder: the stream in every order and the encoder are read as they are now."
    )
    parser.add_argument("board", metavar="FOLDER", type=Path, help="a new folder")
    parser.add_argument("name", metavar="NAME", help="of the board")
    parser.add_argument("experiment", metavar="KEY=VALUE", nargs="*", help="overrides of continual run that all share")
    parser.add_argument("--metric", default="average_accuracy", help="rows are ranked by (default: average_accuracy)")
    parser.add_argument("--seeds", required=True, metavar="0,1,…", help="that every row must have")
    parser.add_argument("--orders", metavar="KEY=A,B,…", help="of the tasks, each with every seed: stream.order=1,2")
    parser.add_argument("--asks", metavar="TEXT", help="the question in one line")
    parser.add_argument("--code", action="store_true", help="only runs of this very source of the package")
    given = parser.parse_intermixed_args(arguments)
    try:
        seeds = [int(seed) for seed in given.seeds.split(",")]
    except ValueError:
        raise ContinualError(f"--seeds: expected whole numbers, 0,1,2, got {given.seeds!r}") from None
    from continual.board import rules
    from continual.board.freeze import freeze

    frozen = freeze(given.name, given.metric, seeds, given.experiment, given.orders, given.asks, given.code)
    rules.save(frozen, given.board)
    runs = counted(len(frozen.jobs), "run")
    print(f"{given.board / rules.FILE}: {runs} a row; continual board add {given.board} RUN …")
    return 0


def _add(arguments: Sequence[str]) -> int:
    parser = _parser("add", "Copy finished runs into a board, row by row: every seed with every order, or not at all.")
    parser.add_argument("board", metavar="BOARD", type=Path)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="runs, or folders of runs")
    parser.add_argument("--as", dest="name", metavar="ROW", help="name of the one row (default: its strategy-method)")
    given = parser.parse_args(arguments)
    from continual.board.add import add

    added = add(given.board, given.runs, given.name)
    if not (added.new or added.refused):
        raise ContinualError(f"no run below {', '.join(map(str, given.runs))}; give runs, or a folder of runs")
    for row, count in added.new.items():
        print(f"{row}: {counted(count, 'record') if count else 'was there before'}")
    for skip in added.refused:
        print(plain(f"{skip.path}: {skip.why}"), file=sys.stderr)
    return 1 if added.refused else 0


def _verify(arguments: Sequence[str]) -> int:
    parser = _parser("verify", "Make one run of a row again, and say whether it lands where the row's runs lie.")
    parser.add_argument("board", metavar="BOARD", type=Path)
    parser.add_argument("row", metavar="ROW")
    parser.add_argument("--run", metavar="SEED/ORDER", help="which (default: the first)")
    given = parser.parse_args(arguments)
    from continual.board.standings import open_board
    from continual.board.verify import verify

    board = open_board(given.board)
    rows = {standing.row.name: standing for standing in board.standings}
    if not rows:
        raise ContinualError(f"{given.board} has no whole row yet: continual board add {given.board} RUN …")
    if given.row not in rows:
        raise unknown("row", given.row, rows)
    jobs = {f"{seed}/{order}": (seed, order) for seed, order in board.rules.jobs}
    if given.run is not None and given.run not in jobs:
        raise unknown("run", given.run, jobs)
    found = verify(board.rules, rows[given.row].row, jobs[given.run or next(iter(jobs))])
    print(f"\n{given.row}, seed {found.job[0]}, order {found.job[1]}, {board.rules.metric} in points")
    print(f"then {points(found.old)}, now {points(found.new)}: {'exactly the same' if found.same else 'not the same'}")
    if (score := rows[given.row].score).runs > 1:
        where = "inside" if score.low <= found.new <= score.high else "outside, as a single run may"
        print(f"the row's 95 % interval is {points(score.low)} to {points(score.high)}: it lands {where}")
    if found.reach is not None:
        low, high = map(points, found.reach)
        print(f"19 of 20 lie from {low} to {high}, were a run made again as far from it as the row's others are apart")
    if found.other:
        print("note: the package's source is another than it was then")
    print("it holds" if found.holds else "it does not hold")
    return 0 if found.holds else 1


def _export(arguments: Sequence[str]) -> int:
    parser = _parser("export", "Write the board for others: Every Eval Ever (eee), or the Hugging Face Hub (hf).")
    parser.add_argument("board", metavar="BOARD", type=Path)
    parser.add_argument("--format", choices=("eee", "hf"), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--by", default="unknown", help="eee: the organization that ran it (default: unknown)")
    parser.add_argument("--dataset", metavar="OWNER/NAME", help="hf: the benchmark's data set on the Hub")
    parser.add_argument("--source", metavar="URL", help="hf: where the board is")
    given = parser.parse_args(arguments)
    from continual.board import every_eval, hub
    from continual.board.standings import open_board

    board = open_board(given.board)
    if given.format == "hf":
        if given.dataset is None:
            parser.error("--format hf needs --dataset OWNER/NAME: the Hub lists results by data set")
        written = hub.export(board, given.out, given.dataset, given.source)
    else:
        written = every_eval.export(board, given.out, given.by)
    print(*written, sep="\n")
    return 0


def _parser(name: str, words: str) -> ArgumentParser:
    return ArgumentParser(f"continual board {name}", description=words, allow_abbrev=False)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"new": _new, "add": _add, "verify": _verify, "export": _export}
