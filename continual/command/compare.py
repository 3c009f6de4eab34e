"""``continual compare``: two finished runs cell by cell, on the same test rows."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Print the differences with their tests; 0 also where nothing is decided."""
    parser = ArgumentParser(
        "continual compare",
        description="Run A less run B: every cell that both have, with a paired test on the same test rows. Cells are "
        "matched by the tasks that were learned by then; where the orders differ that is the last row at least.",
        allow_abbrev=False,
    )
    parser.add_argument("ours", metavar="A", help="a finished run's folder: runs/ID")
    parser.add_argument("theirs", metavar="B", help="another's")
    given = parser.parse_args(arguments)
    from continual.outcomes import Outcomes
    from continual.report.scan import one
    from continual.report.versus import show
    from continual.versus import Side, versus

    places = [Path(given.ours), Path(given.theirs)]
    folders = [place.parent if place.is_file() else place for place in places]
    ours, theirs = (Side(one(place), Outcomes(folder)) for place, folder in zip(places, folders, strict=True))
    show(versus(ours, theirs))
    return 0
