"""AdapterHub's bottlenecks: Pfeiffer, Houlsby, parallel, AdapterPlus, Compacter."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from continual import method
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, unknown
from continual.exchange import modules
from continual.exchange.source import Config, take, take_gates
from continual.method.base import Described, Params

FAMILIES = ("bert", "electra", "roberta", "xlm-roberta")
"""Those whose layers `adapters` builds as BERT's: a block's adapters lie beside its last linear."""
ACTIVATIONS = {
    "relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "swish": "silu", "silu": "silu", "tanh": "tanh",
    "leakyrelu": "leaky_relu",
}  # fmt: skip
SMALLEST_FACTOR = 1e-6
BLOCKS = {"attn": "attention.output", "ffn": "output"}


def read(
    config: Config, tensors: dict[str, Tensor], shared: dict[str, Tensor], name: str, model: AdaptedEncoder
) -> tuple[Described, dict[str, Params]]:
    """The method and its parameters by site; what is read is removed from ``tensors``.

    The site follows from the flags, of z (a block's last linear), y (what is added to it) and LN:
    LN(z + y + δ(LN(z + y))) is ``*_norm`` · LN(z + δ(z) + y) is ``*_out`` · LN(z + y) + δ(LN(z + y)) is ``*_post`` ·
    LN(z + y + δ(y)) is ``ffn_parallel``. A norm before the bottleneck and a scale of each channel are absorbed. Rules
    that a Compacter shares over the layers become each matrix's own.

    Raises ContinualError for a form that has no site, naming the flag.
    """
    parallel = config.get("is_parallel", False, bool)
    place = _parallel(config) if parallel else _sequential(config)
    kind, gated = activation_of(config), config.get("use_gating", False, bool)
    phm, before = config.get("phm_layer", False, bool), config.get("ln_before", False, bool)
    scaling = config.get("scaling", 1.0, int, float, str)
    if isinstance(scaling, str) and scaling not in ("learned", "channel"):
        raise config.error("scaling", f"expected a number, learned or channel, got {scaling!r:.60}")
    if parallel and (phm or before):
        raise config.error("phm_layer" if phm else "ln_before", "our parallel adapter has neither products nor a norm")
    params: dict[str, Params] = {}
    for block, (address, number) in _blocks(config, model, place).items():
        prefix = f"{block}.adapters.{name}."
        own = {key.removeprefix(prefix): tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
        width = _width(config, model.width, number)
        try:
            p = _phm(config, own, shared, width, model.width) if phm else _dense(own, width, model.width, before)
            params[address] = _scaled(p, _scale(own, scaling, model.width), phm)
            params[address] |= take_gates(own, "gate.", 1, model.width) if gated else {}
        except ContinualError as error:
            raise ContinualError(f"{config.where}, {block}: {error}") from error
        if own:
            raise ContinualError(f"{config.where}, {block}: tensor {min(own)} is not understood")
    if not params:
        raise config.error("mh_adapter", "neither it nor output_adapter is true: there is no adapter")
    return _method(config, params, kind, model), params


def _sequential(config: Config) -> str:
    before, behind = config.get("original_ln_before", False, bool), config.get("original_ln_after", True, bool)
    residual = config.get("residual_before_ln", True, bool, str)
    if config.get("ln_after", False, bool):
        raise config.error("ln_after", "a norm of the delta has no codes to mix, and no method of ours has one")
    config.get("adapter_residual_before_ln", False, bool)  # changes nothing without ln_after
    if behind and not before and residual in (True, False):
        return "out"
    if behind and before and residual is True:
        return "norm"
    if not behind and before and residual is False:
        return "post"
    if not behind:
        raise config.error("original_ln_after", "without it the block's residual is lost: no site does that")
    raise config.error("residual_before_ln", f"{residual!r} counts the block's residual twice: no site does that")


def _parallel(config: Config) -> str:
    for key in ("original_ln_before", "residual_before_ln", "adapter_residual_before_ln"):
        config.get(key, False)  # parallel adapters ignore them
    if config.get("ln_after", False, bool):
        raise config.error("ln_after", "a norm of the delta has no codes to mix, and no method of ours has one")
    config.only("original_ln_after", (True,), "without it the block's residual is lost: no site does that")
    return "parallel"


def activation_of(config: Config, default: str = "") -> str:
    """Our name of ``non_linearity``. Raises ContinualError for one that we do not have."""
    name = config.get("non_linearity", default, str)
    if name.lower() not in ACTIVATIONS:
        raise unknown(f"non_linearity in {config.where}", name, ACTIVATIONS)
    return ACTIVATIONS[name.lower()]


def _blocks(config: Config, model: AdaptedEncoder, place: str) -> dict[str, tuple[str, int]]:
    """{path of a block: (address, layer)} wherever the configuration puts an adapter."""
    family = model.encoder.config.model_type
    if family not in FAMILIES:
        raise ContinualError(
            f"bottlenecks of {family} are not read: where `adapters` puts them there was never checked"
        )
    wanted = {"attn": config.get("mh_adapter", False, bool), "ffn": config.get("output_adapter", False, bool)}
    left_out = config.get("leave_out", [], list)
    return {
        f"{path}.{BLOCKS[which]}": (f"{number}/{which}_{place}", number)
        for number, path in enumerate(modules.layer_paths(model))
        for which, is_there in wanted.items()
        if is_there and number not in left_out
    }


def _width(config: Config, width: int, layer: int) -> int:
    factor = config.get("reduction_factor", 16, int, float, dict)
    if isinstance(factor, dict):
        factor = factor.get(str(layer), factor.get("default"))
    if isinstance(factor, bool) or not isinstance(factor, int | float) or factor < SMALLEST_FACTOR:
        raise config.error(
            "reduction_factor", f"expected a number of at least {SMALLEST_FACTOR} for layer {layer}, got {factor!r:.60}"
        )
    return max(1, int(width // factor))


def _dense(own: dict[str, Tensor], r: int, d: int, before: bool) -> Params:
    number = int(before)
    down, down_bias = take(own, f"adapter_down.{number}.weight", r, d), take(own, f"adapter_down.{number}.bias", r)
    up, up_bias = take(own, "adapter_up.weight", d, r), take(own, "adapter_up.bias", d)
    if before:  # D (w ⊙ n + b) = (D ⊙ w) n + D b, of the normed n
        weight, bias = take(own, "adapter_down.0.weight", d), take(own, "adapter_down.0.bias", d)
        down, down_bias = down * weight, down_bias + down @ bias
        for alias in ("weight", "bias"):  # the same tensors under a second name
            own.pop(f"adapter_norm_before.{alias}", None)
    return {"down": down, "down_bias": down_bias, "up": up, "up_bias": up_bias}


def _phm(config: Config, own: dict[str, Tensor], shared: Mapping[str, Tensor], r: int, d: int) -> Params:
    config.only("ln_before", (False,), "our Compacter has no norm")
    config.only("shared_W_phm", (False,), "matrices that all layers share are not read")
    n = config.get("phm_dim", 4, int)
    if n < 1 or d % n or r % n:
        raise config.error("phm_dim", f"expected a divisor of the widths {d} and {r}, got {n}")
    made: Params = {}
    for ours, theirs, size in (("down", "adapter_down.0", (d, r)), ("up", "adapter_up", (r, d))):
        made[f"{ours}_rule"] = _rule(config, own, shared, theirs, n)
        made[f"{ours}_left"], made[f"{ours}_right"] = _factors(config, own, theirs, n, size[0] // n, size[1] // n)
        bias = config.get("phm_bias", True, bool)
        made[f"{ours}_bias"] = take(own, f"{theirs}.b", size[1]) if bias else torch.zeros(size[1])
    made["down_bias"] = made["down_bias"].unflatten(0, (n, r // n))
    return made


def _rule(config: Config, own: dict[str, Tensor], shared: Mapping[str, Tensor], matrix: str, n: int) -> Tensor:
    """(n, n, n): the matrix's own or that of all layers, whole or as a product."""
    common = config.get("shared_phm_rule", True, bool)
    held, prefix = (dict(shared), "") if common else (own, f"{matrix}.")
    if config.get("factorized_phm_rule", False, bool):
        return take(held, f"{prefix}phm_rule_left", n, n, 1) @ take(held, f"{prefix}phm_rule_right", n, 1, n)
    return take(held, f"{prefix}phm_rule", n, n, n).clone()


def _factors(config: Config, own: dict[str, Tensor], matrix: str, n: int, a: int, b: int) -> tuple[Tensor, Tensor]:
    """(n, a, k) and (n, k, b); a whole (n, a, b) is the product of itself and the identity."""
    if config.get("factorized_phm_W", True, bool):
        k = config.get("phm_rank", 1, int)
        return take(own, f"{matrix}.W_left", n, a, k), take(own, f"{matrix}.W_right", n, k, b)
    whole = take(own, f"{matrix}.W", n, a, b)
    if a <= b:
        return torch.eye(a).repeat(n, 1, 1), whole
    return whole, torch.eye(b).repeat(n, 1, 1)


def _scale(own: dict[str, Tensor], scaling: float | str, d: int) -> Tensor:
    """() or (d,)."""
    if isinstance(scaling, str):
        return take(own, "scaling", 1).squeeze() if scaling == "learned" else take(own, "scaling", d)
    return torch.tensor(float(scaling))


def _scaled(p: Params, scale: Tensor, phm: bool) -> Params:
    if phm:
        if scale.dim():
            raise ContinualError("scaling=channel beside phm_layer: a Compacter has no scale of each channel")
        return {**p, "up_left": p["up_left"] * scale, "up_bias": p["up_bias"] * scale}
    if scale.dim():
        return {**p, "up": p["up"] * scale[:, None], "up_bias": p["up_bias"] * scale, "scale": torch.tensor(1.0)}
    return {**p, "scale": scale}


def _method(config: Config, params: Mapping[str, Params], kind: str, model: AdaptedEncoder) -> Described:
    phm = config.get("phm_layer", False, bool)
    narrow = max(p["down_bias"].numel() for p in params.values())
    scaling = config.get("scaling", 1.0, int, float, str)
    scale = 1.0 if isinstance(scaling, str) else float(scaling)
    options = {"reduction_factor": model.width / narrow, "activation": kind, **modules.limits(params, model)}
    if phm:
        first = next(iter(params.values()))
        rank = max(first[f"{matrix}_left"].shape[2] for matrix in ("down", "up"))
        return method.named("compacter", options | {"phm_dim": len(first["down_rule"]), "phm_rank": rank})
    if config.get("is_parallel", False, bool):
        return method.named("parallel", options | {"scale": scale, "learn_scale": scaling == "learned"})
    return method.named("bottleneck", options | {"scale": scale, "normalize": config.get("ln_before", False, bool)})
