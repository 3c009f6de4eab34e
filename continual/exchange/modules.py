"""Names of an encoder's modules <-> sites, both ways, by the table of its family: no suffix is ever guessed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.arch import Place
from continual.encoder.survey import layers_of, places
from continual.errors import ContinualError
from continual.types import Shape

LINEARS = ("query", "key", "value", "attn_out", "ffn_in", "ffn_out")
INPUTS = ("attn_act", "ffn_act")

T = TypeVar("T")


class Spot(NamedTuple):
    """A site, and what of its module it is."""

    address: str
    place: Place
    shape: Shape


def linears(model: AdaptedEncoder) -> dict[str, list[Spot]]:
    """Path of each linear module -> the sites that its output is: one, or the parts of a fused projection in order."""
    return _spots(model, LINEARS)


def inputs(model: AdaptedEncoder) -> dict[str, list[Spot]]:
    """Path of a linear module -> the site that its input is."""
    return _spots(model, INPUTS)


def _spots(model: AdaptedEncoder, names: Collection[str]) -> dict[str, list[Spot]]:
    paths = layer_paths(model)
    heads = int(model.encoder.config.num_attention_heads)
    found: dict[str, list[Spot]] = {}
    for address, place, _, shape in places(model.encoder, model.arch, heads):
        number, name = address.split("/")
        if name in names:
            spot = Spot(address, place, shape)
            found.setdefault(f"{paths[int(number)]}.{place.path}", []).append(spot)
    for spots in found.values():
        spots.sort(key=lambda spot: spot.place.part)
    return found


def layer_paths(model: AdaptedEncoder) -> list[str]:
    """Of each layer, lowest first: "encoder.layer.0"."""
    names = {id(module): name for name, module in model.encoder.named_modules()}
    return [names[id(layer)] for layer in layers_of(model.encoder, model.arch)]


def find(path: str, table: Mapping[str, T], model: AdaptedEncoder) -> T | None:
    """Under its bare name ("encoder…"), or below what a model with a head calls its encoder ("bert.encoder…")."""
    return table.get(path, table.get(path.removeprefix(f"{model.encoder.base_model_prefix}.")))


def require_same(path: str, spots: Sequence[Spot], model: AdaptedEncoder) -> None:
    """Raises ContinualError where a change of the module would also change what our site leaves alone."""
    config = model.encoder.config
    shares = getattr(config, "relative_attention", False) and getattr(config, "share_att_key", False)
    if shares and any(spot.place.only for spot in spots):
        raise ContinualError(
            f"{path} projects relative positions too (share_att_key): the other library changes both, our site words "
            "alone; train it without query and key, or learn the task again"
        )


def layers_text(addresses: Collection[str], model: AdaptedEncoder) -> str | None:
    """What a method's ``layers`` says of the layers of these addresses; None where these are all."""
    numbers = sorted({int(address.split("/")[0]) for address in addresses})
    return None if len(numbers) == len(layer_paths(model)) else ",".join(map(str, numbers))


def limits(addresses: Collection[str], model: AdaptedEncoder) -> dict[str, Any]:
    """The ``targets`` and ``layers`` of a method that acts there; targets in the order of a layer."""
    names = {address.split("/")[1] for address in addresses}
    order = [*LINEARS, *INPUTS]
    targets = tuple(sorted(names, key=lambda name: order.index(name) if name in order else len(order)))
    return {"targets": targets, "layers": layers_text(addresses, model)}
