"""``continual store import|export|push|pull``, as a person meets them."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch

from continual.encoder.load import load
from continual.errors import ContinualError
from continual.session import Session
from continual.store import Store
from tests import running, tiny
from tests.exchange.test_adapterhub import GOLDEN
from tests.exchange.test_adapterhub import encoder as golden_encoder

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft on transformers 5.24


Command = Callable[..., running.Ended]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``continual store …`` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTINUAL_OFFLINE", "1")

    def call(*arguments: object) -> running.Ended:
        monkeypatch.setattr(sys, "argv", ["continual", "store", *map(str, arguments)])
        return running.ended(capsys)

    return call


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.saved_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    golden_encoder().model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def saved(tmp_path: Path, base: Path) -> Path:
    """A LoRA that peft saved."""
    config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", target_modules=["query", "value"])
    made = peft.get_peft_model(copy.deepcopy(load(str(base)).model), config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    made.save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_from_peft_into_the_store_to_a_folder_and_back_to_peft(
    command: Command, base: Path, saved: Path, tmp_path: Path
) -> None:
    ended = command("import", saved, "--encoder", base, "--name", "theirs")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.split()[0] == "theirs/1"
    card = Store(tmp_path / "store").get("theirs").card
    assert (card.method, card.head, card.labels) == ("lora", "none", ())
    assert card.encoder.fingerprint == load(str(base)).fingerprint
    assert (card.origin["from"], card.origin["config"]["peft_type"]) == ("peft", "LORA")
    assert command().out == ended.out  # the list shows it, verified

    assert command("push", "theirs", "./out").out == "theirs is in out\n"
    assert command("pull", "./out", "--store", "other", "--name", "ours").out.split()[0] == "ours/1"
    lost = command("export", "ours", "back", "--store", "other")  # whoever pulls has the encoder elsewhere
    assert "or say where it is: --encoder FOLDER" in lost.err
    ended = command("export", "ours", "back", "--store", "other", "--format", "peft", "--encoder", base)
    assert (ended.code, ended.out) == (0, "ours is in back\n")
    batch, model = tiny.batch(), load(str(base)).model
    wanted, got = (
        peft.PeftModel.from_pretrained(copy.deepcopy(model), str(folder)).eval()(
            input_ids=batch.inputs, attention_mask=batch.mask
        )
        for folder in (saved, tmp_path / "back")
    )
    assert tiny.gap(wanted.last_hidden_state, got.last_hidden_state) <= 1e-5


def test_what_is_left_behind_is_said(command: Command, golden: Path) -> None:
    ended = command("import", GOLDEN / "head_classification", "--encoder", golden, "--name", "hub")
    assert ended.code == 0
    assert "note: the head was left behind: it has 2 layers, ours is one linear" in ended.out


def test_a_setup_is_stored_with_its_members(command: Command, golden: Path, tmp_path: Path) -> None:
    assert command("import", GOLDEN / "fusion_dynamic", "--encoder", golden, "--name", "fused").code == 0
    store = Store(tmp_path / "store")
    assert store.names() == ["fused", "fused.one", "fused.three", "fused.two"]
    assert store.get("fused").card.parents == tuple(store.resolve(f"fused.{name}") for name in ("one", "two", "three"))


def test_an_encoder_with_its_pooler_is_found_again(command: Command, golden: Path, tmp_path: Path) -> None:
    command("import", GOLDEN / "lora", "--encoder", golden, "--name", "pooled", "--pooling", "pooler")
    assert Store(tmp_path / "store").get("pooled").card.pooling == "pooler"
    assert command("export", "pooled", "back").out == "pooled is in back\n"


def test_a_module_of_another_encoder_is_not_exported(
    command: Command, base: Path, golden: Path, saved: Path, tmp_path: Path
) -> None:
    command("import", saved, "--encoder", base, "--name", "theirs")
    ended = command("export", "theirs", "back", "--encoder", golden)
    assert ended.code == 1
    assert f"belongs to another encoder: expected {base}" in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "back").exists()


def test_a_run_refuses_a_stored_module_of_another_encoder(tmp_path: Path) -> None:
    running.run(tmp_path, stream=running.stream(count=1))
    other = running.parts(tmp_path, stream=running.stream(count=1), encoder=running.encoder(seed=1))
    [journal] = tmp_path.glob("runs/*/modules.jsonl")
    with Session(other, tiny.adapted()) as session:
        (session.folder / "modules.jsonl").write_bytes(journal.read_bytes())
    with Session(other, tiny.adapted()) as session, pytest.raises(ContinualError, match="belongs to another encoder"):
        session.adapter(session.journal[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import", "nowhere", "--name", "x"), "nowhere/adapter_config.json is missing"),
        (("import", GOLDEN / "pickle", "--name", "x"), "is a pickle, which can run code and is never read"),
        (("import", GOLDEN / "prompt", "--name", "x"), "its prompts stand behind the embeddings"),
        (("import", GOLDEN / "seq_bn", "--name", "../x"), "store name '../x' must be"),
    ],
)
def test_an_import_that_fails_is_one_line(
    command: Command, golden: Path, arguments: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    ended = command(*arguments, "--encoder", golden)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("continual store: ")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export", "x", "out"), "has no 'x'"),
        (("push", "x", "./out"), "has no 'x'"),
        (("pull", "./out"), "out/continual.json is missing"),
        (("pull", "x"), "'x' is neither a folder (./name) nor a repository of the Hub (owner/name)"),
        (("push", "x", "--token=hf_123"), "token looks like a secret"),
    ],
)
def test_what_is_not_there_is_one_line(command: Command, arguments: tuple[str, ...], said: str) -> None:
    ended = command(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert "hf_123" not in ended.err


@pytest.mark.parametrize("name", ["import", "export", "push", "pull"])
def test_a_wrong_call_shows_the_right_one(command: Command, name: str) -> None:
    assert command(name, "--help").out.startswith(f"usage: continual store {name}")
    ended = command(name)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"usage: continual store {name}")
    assert name in command("a", "b").err


def test_what_is_pushed_does_not_say_where_the_encoder_lay(command: Command, base: Path, saved: Path) -> None:
    command("import", saved, "--encoder", base, "--name", "theirs")
    command("push", "theirs", "./out")
    values = json.loads(Path("out/continual.json").read_text(encoding="utf-8"))
    assert [module["name"] for module in values["modules"]] == ["theirs"]
    [card] = Path("out").glob("objects/*/card.json")
    for file in (card, Path("out/README.md")):
        assert base.name in file.read_text(encoding="utf-8")
        assert f"{base.parent}/{base.name}" not in file.read_text(encoding="utf-8")
