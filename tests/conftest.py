"""Every test runs offline, on one thread, and from the same seed."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

torch.set_num_threads(1)  # tiny tensors: on a shared machine two threads mostly wait for each other


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
