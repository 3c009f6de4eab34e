"""What the encoder makes of a split below the lowest site: computed once, read in every epoch and by every stage.

No module acts there, so these states are a function of the rows alone. They are computed in the batches of an
evaluation, whatever the order of training: a run that was stopped finds the same ones, to the bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
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

    room    what is asked for at once and has no place together is not kept; for what has, the oldest make way
    folder  where they lie in a file that is mapped into memory; None: in memory, where the encoder is
    """

    room: int
    folder: Path | None = None
    kept: dict[str, Below] = field(default_factory=dict, repr=False)

    def below(self, model: AdaptedEncoder, data: Encoded, times: int) -> Below | None:
        """``together`` of one split."""
        found = self.together(model, [(data, times)])
        return None if found is None else found[0]

    def together(self, model: AdaptedEncoder, asked: Sequence[tuple[Encoded, int]]) -> list[Below] | None:
        """Of splits that are needed at once, each read so many times: their states at ``model.lowest``, the first place
        of the encoder at which a module acts.

        None where it does not pay for all of them, nothing is below or some are read once, and where there is no room
        for all. What was kept before does not matter: a run that was stopped reads them, or does not, as it would have.
        """
        gpu = next(model.encoder.parameters()).is_cuda
        if any(times < 2 for _, times in asked) or model.lowest == Start(0):
            return None
        if gpu and model.lowest.layer == 0:  # it has run that layer sooner than a batch of states is put together
            return None
        lengths = [_lengths(model, data) for data, _ in asked]
        keys = [_key(model, data, own) for (data, _), own in zip(asked, lengths, strict=True)]
        once = {key: (data, own) for key, (data, _), own in zip(keys, asked, lengths, strict=True)}
        size = sum(int(own.sum()) for _, own in once.values()) * model.width * model.stream.itemsize
        if size > self.room:
            return None
        others = [key for key in self.kept if key not in once]
        while size + sum(self.kept[key].states.nbytes for key in others) > self.room:
            del self.kept[others.pop(0)]
        for key, (data, own) in once.items():
            if key not in self.kept:
                self.kept[key] = self._computed(model, data, own)
        return [self.kept[key] for key in keys]

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


def _key(model: AdaptedEncoder, data: Encoded, lengths: Tensor) -> str:
    """Of all that the states of a split depend on, in an encoder that stays as it is."""
    rows = sha256(torch.stack([data.row, lengths]).numpy().tobytes())
    return f"{model.lowest} {model.lower} {model.stream} {rows}"


def _lengths(model: AdaptedEncoder, data: Encoded) -> Tensor:
    """(units,) states of each unit: tokens of a text; of an image as many as the encoder makes of it."""
    if not model.arch.image:
        return torch.tensor([len(unit) for unit in data.inputs])
    one = to(collate(data, [0]), next(model.encoder.parameters()).device)
    one.member = torch.zeros_like(one.row)
    return torch.full((len(data.inputs),), model.under(one).shape[1])
