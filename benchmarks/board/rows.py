"""The rows of the board ``quickstart``: {name: what it is, as ``continual run`` takes it}."""

from __future__ import annotations

from collections.abc import Sequence

from continual.board.rules import Job, Rules

ROWS: dict[str, tuple[str, ...]] = {
    "isolated-bottleneck": ("experiment=isolated",),
    "isolated-lora": ("experiment=isolated", "method=lora"),
    "isolated-head": ("experiment=isolated", "method=head"),
    "sequential-bottleneck": ("experiment=sequential",),
    "replay-bottleneck": ("experiment=replay",),
    "ewc-bottleneck": ("experiment=ewc",),
}


def overrides(rules: Rules, row: str, job: Job, more: Sequence[str] = ()) -> list[str]:
    """Of one run: the row, what the board shares, the order, the seed."""
    seed, name = job
    order = next(order.override for order in rules.orders if order.name == name)
    return [*ROWS[row], *rules.experiment, *([order] if order else []), f"seed={seed}", *more]
