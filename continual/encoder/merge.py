"""Merging a module into the encoder's weights, and taking it out again."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from continual import gate
from continual.adapter import Adapter, Piece
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Site
from continual.encoder.survey import layers_of
from continual.errors import ContinualError
from continual.method import name_of
from continual.method.base import Foldable

Affine = tuple[Tensor, Tensor | None]
"""Weight and bias of a module."""


@torch.no_grad()
def merge(model: AdaptedEncoder, adapter: Adapter) -> None:
    """Change the encoder so that, with nothing loaded, it answers as it does with ``adapter``.

    For LoRA W becomes W + α/r · B A (Hu et al. 2021, §4.1). The encoder's own parameters are put aside, not written to:
    ``unmerge`` puts the same ones back, bit for bit, and so does ``release``. While merged its weights are not those of
    ``Encoder.fingerprint``: for serving take a copy (``merged``), for learning the encoder as it was.

    Raises ContinualError where a part of the adapter cannot be merged, naming it, or something is merged already.
    """
    if model.claim.originals:
        raise ContinualError("a module is merged into this encoder already; take it out first: unmerge(model)")
    layers = list(layers_of(model.encoder, model.arch))
    found: dict[nn.Module, Affine] = {}
    if foreign := [address for address in adapter.params if address not in model.sites]:
        raise _cannot(adapter, foreign[0], "it is no site")
    for address in adapter.params:
        if any(gate.count(piece.params) for piece in adapter.pieces(address)):
            raise _cannot(adapter, address, "its gates depend on the text, and weights are the same for all texts")
    # What acts on an output reads the changed input too, so an input's change comes last: (W + ΔW)(x + δ).
    for address, site in sorted(model.sites.items(), key=lambda item: _on_input(item[1])):
        pieces = list(adapter.pieces(address))
        if not pieces:
            continue
        if not isinstance(site, Site):
            raise _cannot(adapter, address, "it adds keys, values or vectors, which no weight can stand for")
        module = layers[int(address.split("/")[0])].get_submodule(site.place.path)
        found[module] = _folded(adapter, site, pieces, *found.get(module, _affine(module, adapter, address)))
    model.load([])
    for module, (weight, bias) in found.items():
        for name, value in (("weight", weight), ("bias", bias)):
            model.claim.originals.append((module, name, getattr(module, name)))
            setattr(module, name, None if value is None else nn.Parameter(value, requires_grad=False))


def unmerge(model: AdaptedEncoder) -> None:
    """Put the encoder's own parameters back. Does nothing where nothing is merged."""
    model.claim.unmerge()


def merged(model: AdaptedEncoder, adapter: Adapter) -> PreTrainedModel:
    """A copy of the encoder with the module in its weights: a plain Hugging Face model, which knows of no site.

    Nothing is left to pay at inference, and ``save_pretrained`` writes it for whoever has transformers alone.
    """
    merge(model, adapter)
    try:
        made = copy.deepcopy(model.encoder)
    finally:
        unmerge(model)
    held = made.__dict__["_claim"]
    held.originals.clear()  # the copy keeps the merged weights
    held.undo(made)
    return made


def _on_input(site: nn.Module) -> bool:
    return isinstance(site, Site) and site.place.how == "input"


def _folded(adapter: Adapter, site: Site, pieces: list[Piece], weight: Tensor, bias: Tensor | None) -> Affine:
    """With what the adapter has at this site. The deltas of several methods there are of the same x and y: they add."""
    if site.place.how == "norm" or site.place.reads:
        raise _cannot(adapter, site.address, "what it reads or changes lies outside the module")
    if site.place.only:
        raise _cannot(adapter, site.address, "the same weights serve relative positions, which it leaves alone")
    part, of = site.place.part
    rows = slice(part * len(weight) // of, (part + 1) * len(weight) // of)
    own, own_bias = weight[rows], None if bias is None else bias[rows]
    weights, biases = own.clone(), own_bias
    for piece in pieces:
        if not isinstance(piece.method, Foldable):
            raise _cannot(adapter, site.address, f"{name_of(piece.method)} is not a linear function of what it reads")
        fold = piece.method.fold_input if site.place.how == "input" else piece.method.fold
        params = {name: tensor.to(weight) for name, tensor in piece.params.items()}
        new, new_bias = fold(params, own, own_bias)
        weights += new - own
        if new_bias is not None and new_bias is not own_bias:
            more = new_bias if own_bias is None else new_bias - own_bias
            biases = more if biases is None else biases + more
    if of == 1:
        return weights, biases
    whole = weight.clone()
    whole[rows] = weights
    if biases is None:
        return whole, bias
    whole_bias = weight.new_zeros(len(weight)) if bias is None else bias.clone()
    whole_bias[rows] = biases
    return whole, whole_bias


def _affine(module: nn.Module, adapter: Adapter, address: str) -> Affine:
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise _cannot(adapter, address, "the encoder's weights are quantized: load it with encoder.quantize=null")
    return weight.detach(), None if bias is None else bias.detach()


def _cannot(adapter: Adapter, address: str, why: str) -> ContinualError:
    return ContinualError(
        f"{name_of(adapter.method)} cannot be merged at {address}: {why}; load it instead: model.load([adapter])"
    )
