"""What the encoder makes of a split below the lowest site: computed once, read in every epoch and by every stage.

No module acts there, so these states are a function of the rows alone. They are computed in the batches of an
evaluation, whatever the order of training: a run that was stopped finds the same ones, to the bit.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.depth import Start
from continual.files import sha256
from continual.predict import forward_batches, to
from continual.stream.units import Encoded, collate


@dataclass(frozen=True)
class Below:
    """States at a place of the encoder: (tokens, d) of all units, one unit after the other.

    first  (units + 1,) the tokens of unit i are first[i] to first[i + 1] - 1
    """

    states: Tensor = field(repr=False)
    first: Tensor = field(repr=False)

    def take(self, units: Tensor, length: int) -> Tensor:
        """(U, length, d) of these units. Behind a shorter one's end stand states of others, which its mask hides."""
        place = self.first[units][:, None] + torch.arange(length)
        return self.states[place.clamp_max(len(self.states) - 1).to(self.states.device)]


@dataclass
class Trunk:
    """The splits whose states are kept, the newest last, in at most ``room`` bytes.

    room    a split that has no place of its own is not kept; for one that has, the oldest make way
    folder  where they lie in a file that is mapped into memory; None: in memory, where the encoder is
    """

    room: int
    folder: Path | None = None
    kept: dict[str, Below] = field(default_factory=dict, repr=False)

    def below(self, model: AdaptedEncoder, data: Encoded, times: int) -> Below | None:
        """The states of this split at ``model.lowest``, the first place of the encoder at which a module acts.

        None where it does not pay: nothing is below, or they would be computed for one reading; or there is no room.
        """
        gpu = next(model.encoder.parameters()).is_cuda
        if model.lowest == Start(0) or (gpu and model.lowest.layer == 0):  # a GPU has half a layer sooner than states
            return None
        lengths = _lengths(model, data)
        rows = sha256(torch.stack([data.row, lengths]).numpy().tobytes())
        key = f"{model.lowest} {model.lower} {model.stream} {rows}"
        if key not in self.kept:
            if times < 2:
                return None
            size = int(lengths.sum()) * model.width * model.stream.itemsize
            if size > self.room:
                return None
            while sum(held.states.nbytes for held in self.kept.values()) + size > self.room:
                del self.kept[next(iter(self.kept))]
            self.kept[key] = self._computed(model, data, lengths)
        return self.kept[key]

    def _computed(self, model: AdaptedEncoder, data: Encoded, lengths: Tensor) -> Below:
        first = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
        found = self._room(int(first[-1]), model)
        anyone = 0 if len(model.loaded) > 1 and not model.mixed else None  # below all modules no row is another's
        for rows, batch in forward_batches(model, data, anyone):
            for unit, states in zip(data.units(rows)[0].tolist(), model.under(batch), strict=True):
                found[first[unit] : first[unit + 1]] = states[: int(lengths[unit])]
        return Below(found, first)

    def _room(self, tokens: int, model: AdaptedEncoder) -> Tensor:
        like = next(model.encoder.parameters())
        if self.folder is None:
            return torch.empty(tokens, model.width, dtype=model.stream, device=like.device)
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".states") as file:  # gone by name, there while mapped
            flat = torch.from_file(file.name, shared=True, size=tokens * model.width, dtype=model.stream)
        return flat.view(tokens, model.width)


def _lengths(model: AdaptedEncoder, data: Encoded) -> Tensor:
    """(units,) states of each unit: tokens of a text; of an image as many as the encoder makes of it."""
    if not model.arch.image:
        return torch.tensor([len(unit) for unit in data.inputs])
    one = to(collate(data, [0]), next(model.encoder.parameters()).device)
    one.member = torch.zeros_like(one.row)
    return torch.full((len(data.inputs),), model.under(one).shape[1])
