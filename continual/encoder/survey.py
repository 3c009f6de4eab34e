"""Which sites a model has: the table of its family, held against its modules."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from continual.encoder.arch import Arch, Place, layers_of
from continual.types import Shape


def places(model: nn.Module, arch: Arch, heads: int) -> Iterator[tuple[str, Place, nn.Module, Shape]]:
    """(address, place, layer, shape) of each site, lowest layer first. A place whose module is nothing (ModernBERT's
    first norm is the identity) is no site."""
    for number, layer in enumerate(layers_of(model, arch)):
        for name, place in arch.sites.items():
            shape = _shape(layer, place, arch, heads) if name not in arch.absent else None
            if shape is not None:
                yield f"{number}/{name}", place, layer, shape


def _shape(layer: nn.Module, place: Place, arch: Arch, heads: int) -> Shape | None:
    if place.how == "attention":
        width = _widths(layer.get_submodule(arch.sites["value"].path), arch.sites["value"])
        return None if width is None else Shape(width.d_in, width.d_out, heads)
    shape = _widths(layer.get_submodule(place.path), place)
    if shape is None or not place.reads:
        return shape
    reads = _widths(layer.get_submodule(place.reads), Place(place.reads))
    return None if reads is None else Shape(reads.d_in, shape.d_out)


def _widths(module: nn.Module, place: Place) -> Shape | None:
    if isinstance(module, nn.LayerNorm):
        return Shape(module.normalized_shape[0], module.normalized_shape[0])
    if not hasattr(module, "in_features"):
        return None
    d_in, d_out = int(module.in_features), int(module.out_features) // place.part[1]  # type: ignore[arg-type]
    return Shape(d_in, d_in) if place.how == "input" else Shape(d_in, d_out)
