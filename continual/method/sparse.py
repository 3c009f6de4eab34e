"""Selective fine-tuning: a few weights of the encoder, wherever they are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.errors import ContinualError, unknown
from continual.method.base import Params, in_layers

RULES = ("fisher", "gradient", "random")


@dataclass(frozen=True)
class Sparse:
    """W becomes W + ΔW where ΔW is zero but at ``density`` of the weights, chosen once, before training.

    rule  "fisher": those of the largest Σ g², the diagonal of the empirical Fisher information (Sung et al. 2021) ·
          "gradient": those of the largest |Σ g| · "random": any
          g is the gradient of a batch's mean loss under the fresh head, at the pretrained weights, over the first
          ``batches`` training batches

    Only matrices are chosen from (biases are BitFit's). Stored are positions (int32, in the order of the encoder's own
    parameters) and values: 8 bytes for each chosen weight.
    """

    density: float = 0.002
    rule: str = "fisher"
    batches: int = 16
    layers: str | None = None

    lr: ClassVar[float] = 1e-3
    fixed: ClassVar[tuple[str, ...]] = ("index",)
    reads: ClassVar[Literal["x", "y"]] = "y"
    targets: ClassVar[tuple[str, ...]] = ()
    dropout: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("method.rule", self.rule, RULES)
        if not 0 < self.density <= 1:
            raise ContinualError(f"method.density must be above 0 and at most 1, got {self.density}")
        if self.batches < 1:
            raise ContinualError(f"method.batches must be at least 1, got {self.batches}")

    def path(self) -> Hashable:
        return ("sparse",)

    def init_weights(self, weights: Mapping[str, Tensor], seed: int) -> Params:
        if self.rule != "random":
            return {}
        rng = torch.Generator().manual_seed(seed)
        return self._at(
            self._largest({n: torch.rand(weights[n].shape, generator=rng) for n in self._open(weights)}, weights)
        )

    def select(self, weights: Mapping[str, Tensor], gradients: Iterable[Mapping[str, Tensor]]) -> Params:
        total = {name: torch.zeros_like(weights[name]) for name in self._open(weights)}
        for batch in gradients:
            for name in total.keys() & batch.keys():
                total[name] += batch[name].square() if self.rule == "fisher" else batch[name]
        return self._at(self._largest({name: t.abs() for name, t in total.items()}, weights))

    def changed(self, p: Params, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        index, value = p["index"].long(), p["value"]
        starts = torch.tensor([0, *(weight.numel() for weight in weights.values())]).cumsum(0).to(index.device)
        cuts = torch.searchsorted(index, starts).tolist()  # at once: each of them would wait for the device
        result = {}
        for (name, weight), start, low, high in zip(weights.items(), starts, cuts, cuts[1:], strict=False):
            if high > low:
                places = index[low:high] - start
                result[name] = weight.flatten().index_add(0, places, value[low:high].to(weight)).view_as(weight)
        return result

    def _open(self, weights: Mapping[str, Tensor]) -> list[str]:
        """The parameters that may be chosen from."""
        return [n for n in in_layers(weights, self.layers) if weights[n].dim() > 1 and weights[n].is_floating_point()]

    def _largest(self, scores: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """(k,) sorted positions of the weights with the largest scores, among all weights one after the other."""
        starts, start = {}, 0
        for name, weight in weights.items():
            starts[name], start = start, start + weight.numel()
        if start > torch.iinfo(torch.int32).max:
            raise ContinualError(f"method=sparse counts weights in 32 bits; the encoder has {start:,}")
        keep = max(1, round(self.density * start))
        tops = [(score.flatten().topk(min(keep, score.numel())), starts[name]) for name, score in scores.items()]
        values = torch.cat([top.values for top, _ in tops])
        places = torch.cat([top.indices + begin for top, begin in tops])
        return places[values.topk(min(keep, len(values))).indices].sort().values

    @staticmethod
    def _at(index: Tensor) -> Params:
        return {"index": index.to(torch.int32).cpu(), "value": torch.zeros(len(index))}
