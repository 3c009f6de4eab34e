"""A frozen encoder whose linear layers hold 8- or 4-bit codes instead of weights: what QLoRA trains over.

``int8``  one absolute maximum a row, W ≈ code · max / 127: 1 byte a weight (Dettmers et al. 2022, LLM.int8(), §2;
          without its outlier columns: only weights are quantised here, never activations)
``nf4``   16 quantiles of a normal distribution, one absolute maximum per 64 weights: 0.56 bytes a weight (Dettmers et
          al. 2023, QLoRA, §3; without its "double quantisation" of the maxima, which would save 0.05 bytes a weight)

The codes are made and read by bitsandbytes; the product is torch's. Its own layers are not used: on a CPU with bfloat16
instructions ``Linear4bit`` packs itself anew at the first forward without a gradient and can't be trained through from
then on, and ``Linear8bitLt`` rounds what it reads to float16.
"""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.errors import ContinualError, unknown

SCHEMES = ("int8", "nf4")
_BLOCK = 64  # weights that share a maximum in nf4, as in QLoRA


class QuantizedLinear(nn.Module):
    """y = x Wᵀ + b, (…, d_in) -> (…, d_out), with W as codes. The gradient passes to x, and to b if it is asked for.

    It has a linear layer's ``in_features``, ``out_features`` and ``bias``, but no ``weight``: nothing can be merged in.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear, scheme: str) -> None:
        super().__init__()
        self.in_features, self.out_features, self.scheme = linear.in_features, linear.out_features, scheme
        weight = linear.weight.detach()
        # On the CPU wherever the encoder lies, so that it has the same codes, and fingerprint, on every machine.
        codes, scales = _encode(weight.cpu().float().contiguous(), scheme)
        self.register_buffer("codes", codes.to(weight.device))
        self.register_buffer("scales", scales.to(weight.device))
        self.bias = linear.bias
        self.requires_grad_(False)

    def decoded(self) -> Tensor:
        """W (d_out, d_in), float32, made anew at each call."""
        return _decode(self.codes, self.scales, self.scheme, (self.out_features, self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        shape = (self.out_features, self.in_features)
        y: Tensor = _Product.apply(x, self.codes, self.scales, self.scheme, shape)  # type: ignore[assignment]
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, scheme={self.scheme}"

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _library()  # its operators must be there in the process that reads a pickle, too

    def _apply(self, fn: Any, recurse: bool = True) -> QuantizedLinear:
        scales = self.scales
        super()._apply(fn, recurse)
        if self.scales.dtype != scales.dtype:  # .to(bfloat16) is about activations: W stays what it is
            self.scales = scales.to(self.scales.device)
        return self


class _Product(torch.autograd.Function):
    """x Wᵀ. The backward pass decodes W again: kept since the forward pass, the encoder would be there in full."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scales: Tensor, scheme: str, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(codes, scales)
        ctx.how = scheme, shape
        return F.linear(x, _decode(codes, scales, scheme, shape).to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        codes, scales = ctx.saved_tensors
        return grads[0] @ _decode(codes, scales, *ctx.how).to(grads[0].dtype), None, None, None, None


def quantize(model: nn.Module, scheme: str) -> nn.Module:
    """Replace every nn.Linear of ``model`` in place, and give it back; embeddings, norms and biases stay as they are.

    Raises ContinualError for an unknown scheme, without bitsandbytes, for a model without linear layers, and for one
    with hooks on them. A device that bitsandbytes cannot work on is refused in the same way, at the first forward.
    """
    if scheme not in SCHEMES:
        raise unknown("encoder.quantize", scheme, SCHEMES)
    made: dict[nn.Linear, QuantizedLinear] = {}
    for path, module in list(model.named_modules(remove_duplicate=False)):  # what is shared stays shared
        if type(module) is not nn.Linear:
            continue  # whoever wrote a subclass reads its weight in some other way
        linear: nn.Linear = module
        if linear._forward_hooks or linear._forward_pre_hooks:
            raise ContinualError(f"{path} has hooks, which would be lost: quantize before adapters are attached")
        if linear not in made:
            made[linear] = QuantizedLinear(linear, scheme)
        model.set_submodule(path, made[linear])
    if not made:
        raise ContinualError(f"{type(model).__name__} has no linear layer to quantize; is it quantized already?")
    return model


def _encode(weight: Tensor, scheme: str) -> tuple[Tensor, Tensor]:
    if scheme == "int8":
        return _library().int8_vectorwise_quant(weight)[:2]
    rows = F.pad(weight.flatten(), (0, -weight.numel() % _BLOCK)).view(-1, _BLOCK)
    codes, state = _library().quantize_4bit(rows, blocksize=_BLOCK, quant_type=scheme)
    return codes, state.absmax


def _decode(codes: Tensor, scales: Tensor, scheme: str, shape: tuple[int, int]) -> Tensor:
    ops = torch.ops.bitsandbytes  # the operators under its functions: torch.compile takes them as they are
    try:
        if scheme == "int8":
            return ops.int8_vectorwise_dequant(codes, scales)
        # Block by block: of rows that end inside a block, 0.50.2's kernel for CPUs with AVX-512 reads wrong maxima.
        flat = ops.dequantize_4bit(codes, scales, _BLOCK, scheme, (len(scales), _BLOCK), torch.float32).flatten()
        return flat[: shape[0] * shape[1]].view(shape)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        place = f"encoder.quantize={scheme} on {codes.device}"
        raise ContinualError(f"{place}: bitsandbytes cannot: {error}; leave it out, or use another device") from error


@cache
def _library() -> Any:
    """bitsandbytes' functions, imported when first wanted: it is an optional dependency."""
    log, level = logging.getLogger("bitsandbytes"), logging.getLogger("bitsandbytes").level
    log.setLevel(logging.ERROR)  # its import warns that a kernel is missing which is not used here
    try:
        return importlib.import_module("bitsandbytes.functional")
    except ImportError as error:
        wanted = "pip install 'continual-adapters[quantize]'"
        raise ContinualError(f"encoder.quantize needs bitsandbytes ({error}): {wanted}") from error
    finally:
        log.setLevel(level)
