"""From a configuration to live parts: what is wrong is found before anything is trained, and said in one line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import open_dict
from safetensors.torch import load_file, save_file

from continual import build as building
from continual.build import build
from continual.composition.fusion import Fusion
from continual.errors import ContinualError
from continual.evaluate import Evaluate
from continual.method.lora import LoRA
from continual.parts import Parts
from continual.request import Recipe
from continual.strategy.sequential import Sequential
from tests import running, tiny

SECRET = "s3ntinel-never-written"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.saved_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(autouse=True)
def _hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with initialize_config_module("continual.conf", version_base="1.3"):
        yield


@pytest.fixture
def made(encoder: Path):
    def make(*overrides: str) -> Parts:
        given = [*running.OVERRIDES, f"encoder.name={encoder}", *overrides]
        return build(compose("run", overrides=given))

    return make


@pytest.fixture
def refused(made):
    """The one line that is said."""

    def refuse(*overrides: str) -> str:
        with pytest.raises(ContinualError) as error:
            made(*overrides)
        assert "\n" not in str(error.value)
        return str(error.value)

    return refuse


def test_everything_chosen_arrives(made) -> None:
    parts = made(
        *("method=lora", "method.rank=2", "strategy=sequential", "composition=fusion", "seed=3", "encoder.pooling=cls"),
        *("optimizer.lr=0.5", "trainer.patience=2", "evaluate.shots=5", "evaluate.unseen=none", "target=toy-1"),
    )
    assert parts.method == LoRA(rank=2)
    assert type(parts.strategy) is Sequential
    assert parts.compositions == (Fusion(),)
    assert (parts.seed, parts.encoder.pooling, parts.target_index) == (3, "cls", 1)
    assert parts.recipe == Recipe(lr=0.5, epochs=1, patience=2)
    assert parts.evaluate == Evaluate(unseen="none", shots=5)
    assert [len(task.train) for task in parts.stream.tasks] == [32, 32, 16]
    assert parts.encoder.family == "bert"
    assert parts.run_id == made("method=lora", *running.OVERRIDES, *_same()).run_id


def _same() -> tuple[str, ...]:
    return (
        *("method.rank=2", "strategy=sequential", "composition=fusion", "seed=3", "encoder.pooling=cls"),
        *("optimizer.lr=0.5", "trainer.patience=2", "evaluate.shots=5", "evaluate.unseen=none", "target=toy-1"),
        *("quiet=true", "logger=csv", "paths.runs=elsewhere", "trainer.log_every=1"),  # say nothing of the result
    )


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "continual.files.os.remove",
        "continual.files.write_atomic",
        "continual.method.lora.nn.Linear",
        "continual.method.lora.F.relu",
        "continual.method.lora.LoRA.path",
        "continual.method.bottleneck.ContinualError",
        "continual.method.base.continual.files.os.system",
        "continual.method.__init__.named",
        "continual.method.lora._x",
        "continual.strategy.isolated.Isolated",
        "continual.assets.subprocess.run",
        "continualevil.method.lora.LoRA",
        "continual..method.lora.LoRA",
        "method.lora.LoRA",
        "LoRA",
        "",
    ],
)
def test_only_components_of_a_group_can_be_its_target(
    made, monkeypatch: pytest.MonkeyPatch, target: str, tmp_path: Path
) -> None:
    for module, name in ((subprocess, "run"), (subprocess, "Popen")):
        monkeypatch.setattr(module, name, None)
    cfg = compose("run", overrides=running.OVERRIDES)
    with open_dict(cfg):
        cfg.method = {"_target_": target, "path": str(tmp_path)}
    with pytest.raises(ContinualError, match=r"method\._target_ .* expected a component defined in continual\.method"):
        build(cfg)
    assert tmp_path.exists()


@pytest.mark.parametrize(
    "overrides",
    [
        [f"+wandb_api_key={SECRET}"],
        [f"+logger.token={SECRET}"],
        [f"+stream.HF_TOKEN={SECRET}"],
        [f"+a.b.password={SECRET}"],
        ["+hub={auth_token: " + SECRET + "}"],
        ["+many=[{secret: " + SECRET + "}]"],
        ["logger=wandb", "logger.project=${oc.env:WANDB_API_KEY}"],
        ["logger=wandb", f"logger.project=x-{SECRET}"],
    ],
)
def test_a_secret_is_refused_and_not_printed(refused, monkeypatch: pytest.MonkeyPatch, overrides: list[str]) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    line = refused(*overrides)
    assert "in the environment" in line
    assert SECRET not in line


def test_a_secret_key_without_a_value_is_none(refused) -> None:
    assert "unknown key method.token" in refused("+method.token=null")


WRONG = [
    ("method.reduction_factor=abc", "method.reduction_factor must be a number, got 'abc'"),
    ("method.reduction_factor=0", "method.reduction_factor must be at least 1, got 0"),
    ("method.targets=query", "method.targets must be a list of text, got 'query'"),
    (
        "method.activation=sin",
        "unknown method.activation 'sin'; choose from: gelu, gelu_tanh, leaky_relu, relu, silu, tanh",
    ),
    (
        "+method.rank=8",
        "unknown key method.rank; choose from: reduction_factor, activation, scale, normalize, dropout, targets",
    ),
    ("trainer.epochs=0", "trainer.epochs must be at least 1, got 0"),
    ("trainer.epochs=-1", "trainer.epochs must be at least 1, got -1"),
    ("trainer.epochs=1.5", "trainer.epochs must be a whole number, got 1.5"),
    ("trainer.epochs=true", "trainer.epochs must be a whole number, got True"),
    ("trainer.batch_size=0", "trainer.batch_size must be at least 1, got 0"),
    ("trainer.patience=0", "trainer.patience must be at least 1, or null, got 0"),
    ("trainer.log_every=0", "trainer.log_every must be at least 1, got 0"),
    ("trainer.accelerator=tpu", "unknown trainer.accelerator 'tpu'; choose from: auto, cpu, cuda, gpu"),
    ("trainer.precision=8", "trainer.precision must be text, got 8"),
    ("trainer.precision=8bit", "unknown trainer.precision '8bit'; choose from: 32-true, bf16-mixed"),
    ("+method_rank=8", "unknown key method_rank; choose from: scenario, seed, target, threads, quiet, objective, "),
    ("~router", "router is missing: every run has one"),
    ("~paths.runs", "paths.runs must be the name of a folder, got None"),
    ("composition.fusion=3", "composition.fusion must be a group of keys, got 3"),
    ("trainer.devices=2", "trainer.devices must be 1 on a CPU, got 2"),
    ("trainer.devices=0", "trainer.devices must be at least 1, got 0"),
    ("+trainer.gpus=1", "unknown key trainer.gpus; choose from: accelerator, devices, precision, gradient_"),
    ("optimizer.lr=-1", "optimizer.lr must be above 0, got -1"),
    ("optimizer.lr=nan", "optimizer.lr must be above 0, got nan"),
    ("optimizer.lr=fast", "optimizer.lr must be a number or null, got 'fast'"),
    ("optimizer.warmup=2", "optimizer.warmup must be a share of the steps, 0 to 1, got 2"),
    ("optimizer.clip=0", "optimizer.clip must be above 0, or null for no clipping, got 0"),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay must be at least 0, got -1"),
    ("evaluate.unseen=maybe", "evaluate.unseen must be ncm or next or none, got 'maybe'"),
    ("evaluate.shots=0", "evaluate.shots must be at least 1, got 0"),
    ("seed=x", "seed must be a whole number, got 'x'"),
    ("threads=0", "threads must be at least 1, or null for what torch chooses, got 0"),
    ("quiet=1", "quiet must be true or false, got 1"),
    ("objective=acuracy", "unknown objective 'acuracy'; choose from: area_under_curve, average_accuracy, "),
    ("encoder.pooling=max", "unknown encoder.pooling 'max'; choose from: cls, mean, pooler"),
    ("target=toy-9", "unknown target 'toy-9'; choose from: toy-0, toy-1, toy-2"),
    ("stream.count=0", "expected count >= 1"),
    ("composition.fusion.regularizer=big", "composition.fusion.regularizer must be a number, got 'big'"),
    ("composition.unipelt.methods=lora", "composition.unipelt.methods must be a list of text, got 'lora'"),
    ("paths.runs=3", "paths.runs must be the name of a folder, got 3"),
    ("encoder.max_length=long", "encoder.max_length must be a whole number, got 'long'"),
    ("encoder.name=./nowhere", "encoder.name=./nowhere is not a folder; give minilm, a folder, or a Hub id"),
]


@pytest.mark.parametrize(("override", "said"), WRONG, ids=[override for override, _ in WRONG])
def test_a_wrong_value_is_said_in_one_line(refused, override: str, said: str) -> None:
    assert said in refused(override)


def test_a_stream_without_its_files_says_how_to_give_them() -> None:
    with pytest.raises(ContinualError, match=r"stream\.files is missing: give it .* as stream\.files=…"):
        build(compose("run", overrides=["stream=csv"]))


def test_all_that_is_wrong_with_a_component_is_said_at_once(refused) -> None:
    line = refused("method.scale=x", "+method.rank=8", "method.targets=3")
    assert "method.scale must be" in line
    assert "unknown key method.rank" in line
    assert "method.targets must be" in line


@pytest.mark.parametrize(
    "override", ["trainer.epochs=0", "optimizer.lr=-1", "method.scale=x", "evaluate.shots=0", "paths.store=taken/store"]
)
def test_what_is_cheap_to_check_is_checked_before_data_and_encoder_are_read(
    refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, override: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(building, "check", None)
    refused("encoder.name=./nowhere", "stream.count=0", override)


def test_sites_that_an_encoder_lacks_are_said_before_training(made) -> None:
    with pytest.raises(
        ContinualError, match=r"method.targets has \['nose'\], which this encoder lacks; it has: attention"
    ):
        running.run_stream(made("method.targets=[nose]", "quiet=true"))


@pytest.mark.parametrize("key", ["runs", "store"])
@pytest.mark.parametrize("place", ["taken", "taken/below", "/proc/nowhere"])
def test_an_output_folder_that_cannot_be_written_is_found_first(refused, tmp_path: Path, key: str, place: str) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    line = refused(f"paths.{key}={place}")
    assert line.startswith(f"cannot write to {place} (")
    assert f"paths.{key}=" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "cannot be read as an encoder"),
        ({"config.json": "{"}, "cannot be read as an encoder"),
        (
            {"config.json": '{"model_type": "gpt2"}'},
            "unknown encoder family 'gpt2'; choose from: albert, bert, camembert, ",
        ),
        ({"config.json": '{"model_type": "bert"}'}, "has no tokenizer"),
        ({"config.json": '{"model_type": "bert"}', "vocab.txt": "[PAD]"}, "cannot be read as an encoder"),
    ],
)
def test_a_folder_that_is_no_encoder_is_said_to_be_none(
    made, tmp_path: Path, content: dict[str, str], said: str
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    with pytest.raises(ContinualError, match=said):
        made(f"encoder.name={folder}")


def test_an_encoder_that_would_be_random_in_part_is_refused(made, tmp_path: Path) -> None:
    folder = running.saved_encoder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in weights if "query.weight" in name)]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ContinualError, match="1 weights are not in the file"):
        made(f"encoder.name={folder}")
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ContinualError, match="cannot be read as an encoder"):
        made(f"encoder.name={folder}")


def test_what_an_encoder_reads_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    one, other = (tiny.encoder(words=words) for words in (["good"], ["bad"]))
    assert one.fingerprint == other.fingerprint
    assert running.parts(tmp_path, encoder=one).run_id != running.parts(tmp_path, encoder=other).run_id


def test_a_hub_encoder_that_cannot_be_had_offline_names_the_ways_out(refused) -> None:
    assert "CONTINUAL_DATA" in refused("encoder.name=nobody/nothing")
