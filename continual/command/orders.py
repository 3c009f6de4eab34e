"""``continual orders``: a finished run in other orders of its tasks."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Print the spread of a run's metrics over orders of its tasks, and write it into the run's folder."""
    parser = ArgumentParser(
        "continual orders",
        description="What a finished run of strategy=isolated had scored in other orders of its tasks, out of its "
        "stored modules: nothing is trained. Mean, worst and spread of each metric; orders.json has them all.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="the run's folder: runs/ID")
    parser.add_argument("--orders", type=int, default=1000, metavar="N", help="random orders (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random orders (default: 0)")
    parser.add_argument("--order", action="append", default=[], metavar="A,B,…", help="one by itself; may be repeated")
    parser.add_argument("--store", metavar="FOLDER", help="where the modules are now (default: as the run has it)")
    given = parser.parse_args(arguments)
    from continual.encoder.adapted import AdaptedEncoder
    from continual.orders import orders
    from continual.reopen import reopen
    from continual.report.orders import show
    from continual.trainer import placed

    parts = reopen(Path(given.run), None if given.store is None else Path(given.store))
    model = placed(AdaptedEncoder(parts.encoder), parts.machine)
    try:
        show(orders(parts, model, given.orders, given.seed, [order.split(",") for order in given.order]))
    finally:
        model.release()
    print(f"\norders     {parts.runs / parts.run_id / 'orders.json'}")
    return 0
