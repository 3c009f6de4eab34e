"""Dropout without a generator: the mask is a hash of where and when it is used.

A generator over the batch would make a row's mask depend on its batch mates and on padding, and a resumed run draw
other numbers than an unbroken one.
"""

from __future__ import annotations

import torch
from torch import Size, Tensor

# Odd 64-bit constants with well-mixed bits (splitmix64, xxhash); stored as signed integers, which wrap on overflow.
_A = 0x9E3779B97F4A7C15 - (1 << 64)
_B = 0xBF58476D1CE4E5B9 - (1 << 64)
_C = 0x94D049BB133111EB - (1 << 64)


def mix(h: Tensor) -> Tensor:
    """splitmix64's finaliser (Steele et al. 2014) on int64 tensors: each input bit flips half of the output bits."""
    h = (h ^ _shift(h, 30)) * _B
    h = (h ^ _shift(h, 27)) * _C
    return h ^ _shift(h, 31)


def keys(seed: Tensor, step: Tensor, row: Tensor) -> Tensor:
    """(B,) one key per row of a batch from its member's seed, its member's step and its content."""
    return mix(mix(mix(seed * _A) + step * _A) + row)


def keep(key: Tensor, shape: Size, site: int, p: float) -> Tensor:
    """Mask of shape (B, T, d): 0 with probability p, else 1/(1-p); f(key, site, position, channel)."""
    _, positions, channels = shape
    device = key.device
    place = torch.arange(positions, device=device)[:, None] * channels + torch.arange(channels, device=device)
    h = mix(key[:, None, None] + mix((place + (site + 1) * (1 << 40)) * _A))
    uniform = _shift(h, 11).to(torch.float64) * 2.0**-53
    return (uniform >= p).to(torch.float64) / (1.0 - p)


def _shift(h: Tensor, bits: int) -> Tensor:
    """Logical right shift (torch's ``>>`` repeats the sign bit)."""
    return (h >> bits) & ((1 << (64 - bits)) - 1)
