"""Whether an adapter fits an encoder: found at loading, with what to do, not as a shape error in a forward."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from continual import gate
from continual.adapter import WEIGHTS, Adapter, Piece
from continual.encoder.pool import POOLER
from continual.errors import ContinualError
from continual.method.base import AttentionMethod, Method, PromptMethod, WeightMethod
from continual.types import Shape


def require_fit(piece: Piece, address: str, shape: Shape) -> None:
    """Raises ContinualError for tensors that were made for a site of another shape."""
    method, like = piece.method, next(iter(piece.params.values()))
    try:
        if isinstance(method, Method):
            x, y = like.new_zeros(1, 1, shape.d_in), like.new_zeros(1, 1, shape.d_out)
            fits = method.delta(piece.params, x, y).shape == y.shape
        elif isinstance(method, AttentionMethod):
            keys, values = method.keys_values(piece.params)
            fits = keys.shape == values.shape == (shape.heads, keys.shape[1], shape.d_out // shape.heads)
        elif isinstance(method, PromptMethod):
            fits = method.vectors(piece.params).shape[1] == shape.d_out
        else:
            fits = True
    except (RuntimeError, KeyError) as error:
        raise _misfit(piece, address, shape) from error
    if not fits or not _gates_fit(piece, shape):
        raise _misfit(piece, address, shape)


def _gates_fit(piece: Piece, shape: Shape) -> bool:
    """One gate for a delta, one or two for keys and values, of the width of what the method reads; or none."""
    if not piece.params.keys() & {gate.WEIGHT, gate.BIAS}:
        return True
    weight, bias = piece.params.get(gate.WEIGHT), piece.params.get(gate.BIAS)
    if weight is None or bias is None or isinstance(piece.method, PromptMethod):
        return False
    width = shape.d_in if piece.method.reads == "x" else shape.d_out
    counts = (1,) if isinstance(piece.method, Method) else (1, 2)
    return weight.shape == (*bias.shape, width) and bias.shape[-1] in counts


def _misfit(piece: Piece, address: str, shape: Shape) -> ContinualError:
    found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in piece.params.items())
    return ContinualError(
        f"{address}: {type(piece.method).__name__} with {found} does not fit a site that reads {shape.d_in} and gives "
        f"{shape.d_out}; was the module made on another encoder?"
    )


def require_weights(adapter: Adapter, weights: Mapping[str, Tensor]) -> None:
    """Raises ContinualError for changes of other weights than the encoder's."""
    method, device = adapter.method, next(iter(weights.values())).device
    params = {name: tensor.to(device) for name, tensor in adapter.params[WEIGHTS].items()}
    assert isinstance(method, WeightMethod)
    try:
        fits = not params or bool(method.changed(params, weights))
    except (RuntimeError, KeyError):
        fits = False
    if not fits:
        raise ContinualError(
            f"{type(method).__name__} changes other weights than this encoder's; was it made on another one?"
        )


def require_room(prompt: int, pooling: str, max_length: int, positions: int) -> None:
    """Raises ContinualError where a prompt of so many vectors leaves no room for the text, or takes its first place."""
    if pooling == POOLER:
        raise ContinualError(
            "encoder.pooling=pooler reads the first position, where a prompt stands; choose mean or cls"
        )
    if prompt + max_length > positions:
        raise ContinualError(
            f"a prompt of {prompt} vectors before texts of encoder.max_length={max_length} tokens needs "
            f"more than the encoder's {positions} positions; lower encoder.max_length or method.length"
        )
