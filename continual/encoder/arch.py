"""Where the sites of each encoder family are: the only table of module names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from continual.errors import unknown


@dataclass(frozen=True)
class Place:
    """A site in a layer: ``path`` is that of its module below the layer.

    "add" changes the module's y to y + delta, "norm" changes LN(x) to LN(x + delta(LN(x))).
    """

    path: str
    how: Literal["add", "norm"] = "add"


@dataclass(frozen=True)
class Arch:
    """One family of encoders: the path of its list of layers, and where in a layer each named site is."""

    layers: str
    sites: dict[str, Place]


_BERT = Arch(
    layers="encoder.layer",
    sites={
        "query": Place("attention.self.query"),
        "key": Place("attention.self.key"),
        "value": Place("attention.self.value"),
        "attn_out": Place("attention.output.dense"),
        "attn_norm": Place("attention.output.LayerNorm", "norm"),
        "ffn_in": Place("intermediate.dense"),
        "ffn_out": Place("output.dense"),
        "ffn_norm": Place("output.LayerNorm", "norm"),
    },
)

_DISTILBERT = Arch(
    layers="transformer.layer",
    sites={
        "query": Place("attention.q_lin"),
        "key": Place("attention.k_lin"),
        "value": Place("attention.v_lin"),
        "attn_out": Place("attention.out_lin"),
        "attn_norm": Place("sa_layer_norm", "norm"),
        "ffn_in": Place("ffn.lin1"),
        "ffn_out": Place("ffn.lin2"),
        "ffn_norm": Place("output_layer_norm", "norm"),
    },
)

ARCHS: dict[str, Arch] = {"bert": _BERT, "roberta": _BERT, "electra": _BERT, "distilbert": _DISTILBERT}


def arch_of(family: str) -> Arch:
    """By ``config.model_type``. Raises ContinualError for a family without sites, listing those that have."""
    if family not in ARCHS:
        raise unknown("encoder family", family, ARCHS)
    return ARCHS[family]


def layers_of(encoder: nn.Module, arch: Arch) -> nn.ModuleList:
    """The encoder's layers, lowest first."""
    layers = encoder.get_submodule(arch.layers)
    assert isinstance(layers, nn.ModuleList)
    return layers
