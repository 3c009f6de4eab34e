"""The table of encoder families held against a model: which row fits it, where its layers are, which sites it has."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from continual.encoder.arch import ARCHS, TOWERS, Arch, Place
from continual.errors import ContinualError, unknown
from continual.types import Shape


def known(family: str) -> None:
    """Raises ContinualError for a family without sites, listing those that have."""
    if family not in ARCHS and family not in TOWERS:
        raise unknown("encoder family", family, [*ARCHS, *TOWERS])


def arch_of(family: str, model: nn.Module) -> Arch:
    """By ``config.model_type`` and the modules that the model has.

    Raises ContinualError for a family without sites, or a model of the family whose modules are none of those known.
    """
    known(family)
    for arch in ARCHS.get(family, ()):
        if _fits(model, arch):
            return arch
    raise ContinualError(
        f"the {family} model has other modules than this release knows; expected layers at "
        f"{' or '.join(arch.layers for arch in ARCHS.get(family, ()))}, with {', '.join(_paths(ARCHS[family][0]))}"
    )


def layers_of(encoder: nn.Module, arch: Arch) -> Iterator[nn.Module]:
    """The encoder's layers, lowest first; none where the model has no such list."""
    found = [encoder]
    for step in arch.layers.split("."):
        if step == "*":
            found = [child for module in found for child in module.children()]
        else:
            found = [module.get_submodule(step) for module in found if hasattr(module, step)]
    for layers in found:
        yield from layers.children()


def _fits(model: nn.Module, arch: Arch) -> bool:
    first = next(layers_of(model, arch), None)
    return first is not None and set(_paths(arch)) <= {name for name, _ in first.named_modules()}


def _paths(arch: Arch) -> list[str]:
    return sorted({place.path for place in arch.sites.values()})


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
