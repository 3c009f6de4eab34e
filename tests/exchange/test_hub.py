"""Modules go to a folder or to the Hub and come back bit for bit; what was tampered with is refused. No network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml

from continual import folder, method
from continual.adapter import flatten
from continual.errors import ContinualError, CorruptError
from continual.exchange import hub
from continual.exchange.hub import pull, push
from continual.method.lora import LoRA
from continual.store import Card, EncoderRef, Store, require
from tests import tiny

ENCODER = EncoderRef(name="org/encoder", revision=None, fingerprint="f" * 64)


def card(**facts: Any) -> Card:
    kind = LoRA()
    values = {
        "kind": "adapter",
        "method": method.name_of(kind),
        "arguments": folder.arguments(kind),
        "encoder": ENCODER,
        "pooling": "mean",
        "head": "classify",
        "labels": ("no", "<yes>"),
        "tensors": {},
        "origin": {"task": "reviews", "valid_score": 0.75, "seed": 3},
    }
    return Card(**{**values, **facts})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A module, another, and a composition of both."""
    made = Store(tmp_path / "store")
    model = tiny.adapted()
    digests = []
    for seed, name in enumerate(("a", "b")):
        tensors = flatten(tiny.trained(LoRA(), model, seed).params)
        digests.append(made.put(name, card(), tensors, {"weight": torch.ones(2, 32)})[0])
    both = card(kind="composition", method="fusion", arguments={}, parents=tuple(digests))
    made.put("both", both, {"0/query/query": torch.eye(32)}, {})
    return made


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONTINUAL_OFFLINE", "HF_HUB_OFFLINE", "CONTINUAL_DATA"):
        monkeypatch.delenv(name, raising=False)


class Api:
    """Stands in for HfApi: repositories are folders; the newest commit is the only one."""

    def __init__(self, root: Path) -> None:
        self.root, self.made = root, {}

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.made[repo_id] = private

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> SimpleNamespace:
        shutil.copytree(folder_path, self.root / repo_id / ("c" * 40), dirs_exist_ok=True)
        return SimpleNamespace(oid="c" * 40)


@pytest.mark.parametrize("name", ["a", "a/1", "both"])
def test_a_module_comes_back_from_a_folder_bit_for_bit(store: Store, tmp_path: Path, name: str) -> None:
    assert push(store, name, str(tmp_path / "out")) == str(tmp_path / "out")
    there = Store(tmp_path / "there")
    kept = pull(there, str(tmp_path / "out"))
    short = name.partition("/")[0]
    assert [one for one, _, _ in kept] == (["a", "b", "both"] if name == "both" else [short])
    assert there.resolve(short) == store.resolve(name)
    ours, theirs = there.get(short), store.get(name)
    assert ours.card == theirs.card
    assert all(torch.equal(tensor, theirs.tensors[key]) for key, tensor in ours.tensors.items())
    assert not list(there.verify())
    assert pull(there, str(tmp_path / "out"), name="mine")[-1][0] == "mine"


def test_a_module_goes_to_the_hub_and_comes_back(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(tmp_path / "hub")
    assert push(store, "both", "org/repo", api=api) == f"org/repo@{'c' * 40}"
    assert api.made == {"org/repo": True}
    push(store, "a", "org/open", private=False, api=api)
    assert api.made["org/open"] is False

    asked: dict[str, Any] = {}

    def download(repo_id: str, **options: Any) -> str:
        asked.update(options)
        return str(tmp_path / "hub" / repo_id / options["revision"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    there = Store(tmp_path / "there")
    kept = pull(there, "org/repo", revision="c" * 40)
    assert [(name, digest) for name, digest, _ in kept] == [(n, store.resolve(n)) for n in ("a", "b", "both")]
    assert asked["revision"] == "c" * 40
    assert set(asked["allow_patterns"]) == {"*.json", "*.safetensors"}


def test_the_model_card_says_what_it_is_and_leaves_the_license(store: Store, tmp_path: Path) -> None:
    push(store, "a", str(tmp_path / "out"))
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front == {
        "library_name": "continual",
        "base_model": "org/encoder",
        "tags": ["continual", "adapter", "lora"],
    }
    assert "# license: yours to choose" in text
    for said in ("no, &lt;yes>", "validation score**: 0.7500", "task**: reviews", 'get("a")', store.resolve("a")):
        assert said in text


@pytest.mark.parametrize("file", ["card.json", "adapter.safetensors", "head.safetensors"])
def test_an_object_that_is_not_what_its_digest_says_is_not_stored(store: Store, tmp_path: Path, file: str) -> None:
    push(store, "a", str(tmp_path / "out"))
    [path] = (tmp_path / "out").glob(f"objects/*/{file}")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"mean", b"bare") if file == "card.json" else data[:-1] + b"\x07")
    there = Store(tmp_path / "there")
    with pytest.raises(CorruptError):
        pull(there, str(tmp_path / "out"))
    assert there.names() == []


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (None, "expected modules, each with a name and a digest"),
        ([], "expected modules, each with a name and a digest"),
        ([{"name": "a", "digest": "../../etc"}], "expected modules, each with a name and a digest"),
        ([{"name": "a", "digest": "0" * 64}], "has no object"),
        ([{"name": "../a", "digest": "REAL"}], "store name '../a' must be"),
    ],
)
def test_an_index_that_cannot_be_trusted_is_refused(store: Store, tmp_path: Path, modules: Any, said: str) -> None:
    push(store, "a", str(tmp_path / "out"))
    text = json.dumps({"modules": modules}).replace("REAL", store.resolve("a"))
    (tmp_path / "out" / hub.INDEX).write_text(text, encoding="utf-8")
    with pytest.raises(ContinualError) as error:
        pull(Store(tmp_path / "there"), str(tmp_path / "out"))
    assert said in str(error.value)


def test_a_composition_without_its_parts_is_refused(store: Store, tmp_path: Path) -> None:
    push(store, "both", str(tmp_path / "out"))
    path = tmp_path / "out" / hub.INDEX
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({"modules": values["modules"][1:]}), encoding="utf-8")
    with pytest.raises(CorruptError, match=r"composes .*, which is not there"):
        pull(Store(tmp_path / "there"), str(tmp_path / "out"))


def test_a_folder_with_other_files_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ContinualError, match="holds other files"):
        push(store, "a", str(tmp_path / "home"))
    push(store, "a", str(tmp_path / "out"))
    push(store, "b", str(tmp_path / "out"))  # what was pushed to before may be pushed to again
    assert pull(Store(tmp_path / "there"), str(tmp_path / "out"))[-1][0] == "b"


def test_what_is_no_place_and_what_the_hub_says_are_errors_without_secrets(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ContinualError, match=r"'here' is neither a folder \(\./name\) nor a repository"):
        push(store, "a", "here")
    monkeypatch.setenv("MY_TOKEN", "shh-it-is-secret")

    class Refuses(Api):
        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            raise RuntimeError("401 for shh-it-is-secret and hf_abcdefghijklmnop\nmore")

    with pytest.raises(ContinualError) as error:
        push(store, "a", "org/repo", api=Refuses(tmp_path))
    assert "RuntimeError: 401 for *** and hf_***" in str(error.value)
    assert "hf auth login" in str(error.value)
    assert error.value.__cause__ is None

    def download(repo_id: str, **options: Any) -> str:
        raise RuntimeError("401 for shh-it-is-secret")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ContinualError) as error:
        pull(store, "org/repo")
    assert "shh" not in str(error.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ContinualError, match="HF_HUB_OFFLINE is set"):
        push(store, "a", "org/repo", api=Api(tmp_path))


def test_a_module_of_another_encoder_is_refused_with_both_and_what_to_do() -> None:
    require(card(), ENCODER)
    with pytest.raises(ContinualError) as error:
        require(card(), EncoderRef(name="other", revision=None, fingerprint="0" * 64))
    for said in ("expected org/encoder (ffffffffffff…)", "got other (000000000000…)", "encoder.name=org/encoder"):
        assert said in str(error.value)
