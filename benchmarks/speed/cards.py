"""What the measurements on a GPU share: encoders of a size, and what the card can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from continual.encoder.frozen import Encoder

SIZES = {"minilm": (6, 384, 12, 1536), "bert-base": (12, 768, 12, 3072)}


def require_gpu(count: int = 1) -> None:
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there < count:
        wanted = "a GPU" if count == 1 else f"{count} GPUs"
        raise SystemExit(f"this is measured on {wanted}, and torch finds {there or 'none'}")


def settled() -> None:
    """All that this thread's device was told to do is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def sized(name: str, tokens: int) -> Encoder:
    """Random weights of this size: they cost what trained ones do."""
    layers, width, heads, inner = SIZES[name]
    torch.manual_seed(0)
    config = BertConfig(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=inner)
    model = BertModel(config, add_pooling_layer=False).requires_grad_(False).eval()
    return Encoder(name, None, "bert", model, None, fingerprint="", max_length=tokens)


@cache
def peaks() -> dict[str, float]:
    """Measured: operations a second of a large bfloat16 product, bytes a second of a copy (read and written)."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    c = torch.empty(2**28, device="cuda", dtype=torch.float32)
    d = torch.empty_like(c)
    return {"flops": 2 * 8192**3 / best(lambda: a @ b), "bytes": 2 * c.nbytes / best(lambda: d.copy_(c))}


def best(call: Callable[[], Tensor], times: int = 20) -> float:
    """Seconds of one, over so many in a row; the least of five."""
    found = []
    for _ in range(5):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(times):
            call()
        torch.cuda.synchronize()
        found.append((time.perf_counter() - started) / times)
    return min(found)
