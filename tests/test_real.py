"""The embedded encoder and corpora themselves, in small: skipped where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module

from continual.build import build
from continual.drive import run_stream
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.load import load
from continual.errors import ContinualError
from continual.predict import features
from continual.stream.base import Example
from continual.stream.text import Reader

pytestmark = pytest.mark.real

SMALL = ["stream.train=96", "stream.valid=32", "stream.test=64", "trainer.epochs=1", "encoder.max_length=32"]


def encoder():
    try:
        return load()
    except ContinualError as error:
        pytest.skip(f"the embedded encoder cannot be had here: {error}")


def test_the_embedded_encoder_knows_what_is_alike() -> None:
    loaded = encoder()
    texts = ["The film was a delight.", "I loved that movie.", "Crude oil prices fell on Monday."]
    rows = Reader(loaded.tokenizer, loaded.max_length)([Example(text, 0) for text in texts])
    vectors = torch.nn.functional.normalize(features(AdaptedEncoder(loaded), rows))
    alike, apart = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert alike > 0.5 > apart + 0.2


@pytest.mark.slow
def test_a_small_quickstart_runs_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder()
    monkeypatch.chdir(tmp_path)
    with initialize_config_module("continual.conf", version_base="1.3"):
        config = compose("run", SMALL)
    try:
        parts = build(config)
    except ContinualError as error:
        pytest.skip(f"the corpora cannot be had here: {error}")
    record = run_stream(parts)
    assert record.status == "finished"
    assert record.encoder_unchanged
    assert record.modules_unchanged
    assert record.metrics["backward_transfer"].value == 0.0
    assert {gain.composition for gain in record.gains} == {"fusion", "unipelt"}
    assert max(module.bytes for module in record.modules if module.method == "bottleneck") < 1_000_000
    assert (parts.runs / record.id / "dashboard.html").stat().st_size > 1_000_000
