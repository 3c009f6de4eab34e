"""How many members train at once, and which: one that has come to its end makes way for the next that waits."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import torch

from continual.encoder.adapted import AdaptedEncoder
from continual.member import Member

SHARE = 0.5
"""Of the free memory of a device that the activations of a step may take."""
MOST = 64


class Lanes:
    """The members in the order of their requests, ``count`` of them at a time.

    A member begins at the step at which a lane is free; from there it counts its own steps, so nothing that it learns
    depends on when that was.
    """

    def __init__(self, members: Sequence[Member], count: int) -> None:
        self.members, self.count = members, count
        for member in members[count:]:
            member.start = None

    @property
    def steps(self) -> int:
        """How many steps all take if none stops early.

        Each member takes the lane that is free first: a member that does not stop early ends no later than here.
        """
        lanes = [0] * self.count
        for member in self.members:
            heapq.heapreplace(lanes, lanes[0] + len(member.batches))
        return max(lanes)

    def at(self, step: int) -> list[Member]:
        """Those that train in this step. Asked for each step once, in order."""
        live = [member for member in self.members if member.trains(step)]
        for member in self.members:
            if member.start is None and len(live) < self.count:
                member.start = step
                live.append(member)
        return live


def fitting(model: AdaptedEncoder, members: Sequence[Member]) -> int:
    """As many members as the free memory of the device has room for; one at a time on a CPU.

    A CPU is at its limit with the rows of one member. On a GPU small batches leave most of it idle, and what limits is
    what a step keeps for its backward pass: of a token and layer about 34 d + 5 T · heads numbers of 2 bytes, whatever
    the number of members (Korthikanti et al. 2022, eq. 1), and as much again in float32.
    """
    device = next(model.encoder.parameters()).device
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST, int(SHARE * free / max(map(_bytes, members)))))


def _bytes(member: Member) -> int:
    model = member.learner.model
    config = model.encoder.config
    tokens, rows = int(member.request.train.lengths.max()), member.request.recipe.batch_size
    width, layers, heads = model.width, int(config.num_hidden_layers), int(config.num_attention_heads)
    return rows * tokens * layers * (34 * width + 5 * tokens * heads) * (1 if model.lower else 2)
