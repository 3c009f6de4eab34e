"""Every test runs offline, on one thread, and from the same seed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from tests import running

torch.set_num_threads(1)  # tiny tensors: on a shared machine two threads mostly wait for each other


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., running.Ended]:
    """``continual …`` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # undone at the end

    def call(*arguments: object) -> running.Ended:
        monkeypatch.setattr(sys, "argv", ["continual", *map(str, arguments)])
        return running.ended(capsys)

    return call
