"""A store gives back exactly what was put into it, or says that it cannot."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from continual import method
from continual.errors import ContinualError, CorruptError
from continual.files import canonical, sha256
from continual.store import Card, EncoderRef, Store

Tensors = dict[str, Tensor]


def card(**changes: Any) -> Card:
    fields: dict[str, Any] = {
        "kind": "adapter",
        "method": "lora",
        "arguments": {"rank": 2, "alpha": 16.0, "targets": ["query"]},
        "encoder": EncoderRef(name="tiny", revision="1", fingerprint="f" * 64),
        "pooling": "mean",
        "head": "classify",
        "labels": ("no", "yes"),
        "tensors": {},
        "origin": {"seed": 0},
    }
    return Card(**fields | changes)


def module(value: float = 1.0) -> tuple[Tensors, Tensors]:
    tensors = {"0/query/a": torch.full((2, 3), value), "0/query/scale": torch.tensor(8.0)}
    return tensors, {"weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, name: str = "a", value: float = 1.0, **changes: Any) -> tuple[str, int]:
    return store.put(name, card(**changes), *module(value))


def same(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(t, b[k]) and t.dtype == b[k].dtype for k, t in a.items())


def visible(store: Store) -> list[str]:
    """Everything in the store that is not a temporary file."""
    return sorted(
        str(p.relative_to(store.root)) for p in store.root.rglob("*") if ".new-" not in str(p) and p.is_file()
    )


def test_what_was_put_comes_back_by_name_version_and_digest(store: Store) -> None:
    digest, version = put(store)
    assert version == 1
    for reference in ("a", "a/1", digest):
        entry = store.get(reference)
        assert same(entry.tensors, module()[0])
        assert same(entry.head, module()[1])
        assert entry.digest == digest
        assert entry.card.origin == {"seed": 0}
    assert store.size(digest) == sum(p.stat().st_size for p in (store.root / "objects" / digest).iterdir())
    assert list(store.verify()) == []


finite = st.floats(allow_nan=False, allow_infinity=False, width=16)
shapes = st.lists(st.integers(0, 3), max_size=3)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64])


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(shapes)
    size = int(torch.tensor(shape).prod()) if shape else 1
    values = draw(st.lists(finite, min_size=size, max_size=size))
    made = torch.tensor(values, dtype=torch.float64).view(shape).to(draw(dtypes))
    return made.mT if made.dim() > 1 and draw(st.booleans()) else made  # not contiguous


keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, tensors(), max_size=4), st.dictionaries(keys, tensors(), max_size=2))
def test_any_tensors_come_back_exactly(store: Store, adapter: Tensors, head: Tensors) -> None:
    digest, _ = store.put("any", card(), adapter, head)
    entry = store.get(digest)
    assert same(entry.tensors, adapter)
    assert same(entry.head, head)


def test_the_same_content_is_stored_once_and_named_once(store: Store) -> None:
    assert put(store) == put(store)
    digest, version = put(store, "b", origin={"seed": 7, "scores": [0.5]})
    assert version == 1
    assert len(list((store.root / "objects").iterdir())) == 1
    assert store.get("b").card.origin == {"seed": 0}  # of the first writer
    assert store.resolve("a") == store.resolve("b/1") == digest


def test_versions_count_up_and_a_name_is_its_newest(store: Store) -> None:
    digests = [put(store, value=value)[0] for value in (1.0, 2.0, 1.0)]
    assert store.versions("a") == [1, 2, 3]
    assert [store.resolve(f"a/{v}") for v in (1, 2, 3)] == digests
    assert store.resolve("a") == digests[2] == digests[0] != digests[1]


def test_what_is_not_there_is_named_beside_what_is(store: Store) -> None:
    with pytest.raises(ContinualError, match="has no 'a'; it has: nothing"):
        store.get("a")
    put(store), put(store, "b")
    with pytest.raises(ContinualError, match="has no 'c'; it has: a, b"):
        store.get("c")
    with pytest.raises(ContinualError, match=r"a has no version '2'; it has \[1\]"):
        store.get("a/2")
    with pytest.raises(ContinualError, match="has no object 0123456789ab"):
        store.get("0123456789abcdef" * 4)


IDENTITY = {
    "kind": "composition",
    "method": "bottleneck",
    "arguments": {"rank": 3},
    "encoder": EncoderRef(name="tiny", revision="1", fingerprint="e" * 64),
    "pooling": "cls",
    "head": "tag",
    "labels": ("yes", "no"),
    "parents": ("0" * 64,),
}


@pytest.mark.parametrize("field", IDENTITY)
def test_the_digest_covers(store: Store, field: str) -> None:
    assert put(store)[0] != put(store, **{field: IDENTITY[field]})[0]


def test_the_digest_does_not_cover_where_the_module_came_from(store: Store) -> None:
    elsewhere = EncoderRef(name="mirror/tiny", revision=None, fingerprint="f" * 64)
    assert put(store)[0] == put(store, origin={"host": "elsewhere"}, encoder=elsewhere)[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite_are_refused_on_the_way_in_and_out(
    store: Store, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    with pytest.raises(ContinualError, match="tensor 0/query/a has NaN or infinite values; nothing was stored"):
        put(store, value=bad)
    assert not store.root.exists()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "isfinite", torch.ones_like)
        put(store, value=bad)
    with pytest.raises(CorruptError, match="tensor 0/query/a has NaN or infinite values"):
        store.get("a")


def test_every_flipped_bit_is_noticed_unless_it_only_changes_where_a_module_came_from(store: Store) -> None:
    digest, _ = put(store)
    for path in sorted((store.root / "objects" / digest).iterdir()):
        good = path.read_bytes()
        for position in range(len(good)):
            path.write_bytes(good[:position] + bytes([good[position] ^ 1 << position % 8]) + good[position + 1 :])
            try:
                entry = store.get("a")
            except CorruptError:
                continue
            assert path.name == "card.json"
            assert entry.digest == digest
            assert same(entry.tensors, module()[0])
        path.write_bytes(good)
    store.get("a")


@pytest.mark.parametrize("file", ["adapter.safetensors", "head.safetensors", "card.json"])
def test_a_truncated_or_missing_file_is_noticed_and_mended_by_the_next_put(store: Store, file: str) -> None:
    digest, _ = put(store)
    path = store.root / "objects" / digest / file
    good = path.read_bytes()
    for length in range(0, len(good), 7):
        path.write_bytes(good[:length])
        with pytest.raises(CorruptError, match=file):
            store.get("a")
    assert [reference for reference, _ in store.verify()] == ["a/1"]
    path.unlink()
    with pytest.raises(CorruptError, match=file):
        store.get("a")
    assert put(store) == (digest, 1)
    assert store.get("a").digest == digest


def test_content_under_another_digest_is_refused(store: Store) -> None:
    digest, _ = put(store)
    other, _ = put(store, "b", value=2.0)
    objects = store.root / "objects"
    shutil.copy(objects / other / "adapter.safetensors", objects / digest / "adapter.safetensors")
    with pytest.raises(CorruptError, match="not those the card was written for"):
        store.get("a")
    shutil.rmtree(objects / digest)
    (objects / other).rename(objects / digest)
    with pytest.raises(CorruptError, match=f"expected digest {digest[:12]}"):
        store.get("a")
    (store.root / "names" / "a" / "1").write_text("nonsense")
    with pytest.raises(CorruptError, match="does not hold a digest"):
        store.get("a")


def forge(store: Store, **changes: Any) -> str:
    """A card from a hostile hand, consistent in itself, with files that fit; its digest."""
    digest, _ = put(store)
    facts = store.get(digest).card.model_dump(mode="json") | changes
    identity = {key: value for key, value in facts.items() if key != "origin"}
    identity["encoder"] = facts["encoder"]["fingerprint"]
    try:
        forged = sha256(canonical(identity))
    except ValueError:
        forged = "0" * 64
    folder = store.root / "objects" / forged
    shutil.copytree(store.root / "objects" / digest, folder)
    (folder / "card.json").write_text(json.dumps({"digest": forged} | facts))
    return forged


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "../x"},
        {"method": "/etc/passwd"},
        {"method": "Lora"},
        {"head": "a/b"},
        {"kind": "pickle"},
        {"schema_version": 2},
        {"surprise": 1},
        {"arguments": {"alpha": float("nan")}},
    ],
    ids=str,
)
def test_a_hostile_card_is_refused(store: Store, changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptError, match=r"card\.json"):
        store.get(forge(store, **changes))


@pytest.mark.parametrize("name", ["os.system", "base", "torch", "continual.files"])
def test_a_card_reaches_nothing_outside_the_folder_of_methods(store: Store, name: str) -> None:
    entry = store.get(forge(store, method=name))
    with pytest.raises(ContinualError, match="choose from: bitfit, bottleneck"):
        method.named(entry.card.method, entry.card.arguments)


def test_a_malformed_card_cannot_be_made() -> None:
    with pytest.raises(ValidationError):
        card(method="../x")


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".x", "-x", "A", "é", "a b", "a\n", "x" * 65, "0123456789abcdef" * 4]
)
def test_names_that_are_no_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ContinualError, match="store name"):
        put(store, name)
    assert not store.root.exists()


def full_disk(*args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["rename", "link", "fsync"])
def test_a_writer_that_fails_leaves_nothing_visible(store: Store, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full_disk)
        with pytest.raises(ContinualError, match=r"cannot write to the store .*No space left on device"):
            put(store)
    assert store.names() == []
    assert not [path for path in visible(store) if path.startswith("names")]
    with pytest.raises(ContinualError, match="has no 'a'; it has: nothing"):
        store.get("a")
    assert put(store)[1] == 1
    assert list(store.verify()) == []


WRITER = """
import os, signal, sys
from continual.store import Store, store
from tests.store.test_store import card, module

def put(value):
    return Store(sys.argv[1]).put("a", card(), *module(value))
"""
KILLED = """
def kill(path, data, write=store.write_synced):
    write(path, data[:len(data) // 2])
    if path.name == "card.json":
        os.kill(os.getpid(), signal.SIGKILL)
store.write_synced = kill
put(1.0)
"""
CROWD = """
children = []
for number in range(8):
    if not (child := os.fork()):
        for step in range(5):
            put(float(10 * number + step))
        os._exit(0)
    children.append(child)
assert not any(os.waitpid(child, 0)[1] for child in children)
"""


def script(store: Store, body: str) -> int:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER + body, str(store.root)]
    return subprocess.run(command, cwd=root, timeout=60, check=False).returncode


def test_a_killed_writer_leaves_no_half_object(store: Store) -> None:
    assert script(store, KILLED) == -signal.SIGKILL
    assert list((store.root / "objects").glob(".new-*/card.json"))  # it was killed in the middle
    assert visible(store) == []
    assert store.names() == []
    assert put(store)[1] == 1
    assert list(store.verify()) == []


def test_eight_processes_that_write_under_one_name_lose_nothing(store: Store) -> None:
    assert script(store, CROWD) == 0
    assert store.versions("a") == list(range(1, 41))
    values = [float(store.get(f"a/{version}").tensors["0/query/a"][0, 0]) for version in store.versions("a")]
    assert sorted(values) == sorted(float(10 * number + step) for number in range(8) for step in range(5))
    assert not [path for path in store.root.rglob(".new-*")]
