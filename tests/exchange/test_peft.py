"""What real ``peft`` saves is read exactly; what we write, real ``peft`` loads and computes exactly."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertForSequenceClassification, BertForTokenClassification, PreTrainedModel

from continual import exchange, folder, head, method
from continual.adapter import Adapter, flatten
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder, wrap
from continual.errors import ContinualError
from continual.exchange import keep, peft_write
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.prompt import Prompt
from continual.store import Card, Entry
from continual.types import Batch
from tests import tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # peft 0.21 on transformers 5.24
    pytest.mark.filterwarnings("ignore:It's not recommended to use `rank_pattern`"),
]
ALL = ("query", "key", "value", "attn_out", "ffn_in", "ffn_out")
LINEARS = {
    "bert": ["query", "key", "value", "dense"],
    "roberta": ["query", "key", "value", "dense"],
    "distilbert": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"],
    "modernbert": ["Wqkv", "Wo", "Wi"],
}


def lora(**options: Any) -> peft.LoraConfig:
    return peft.LoraConfig(**{"task_type": "FEATURE_EXTRACTION", "r": 4, "lora_alpha": 6} | options)


CONFIGS: dict[str, Callable[[str], peft.PeftConfig]] = {
    "lora": lambda family: lora(target_modules=LINEARS[family][:1]),
    "rslora": lambda family: lora(target_modules=LINEARS[family], use_rslora=True),
    "all-linear": lambda family: lora(target_modules="all-linear"),
    "patterns": lambda family: lora(
        target_modules=LINEARS[family],
        rank_pattern={LINEARS[family][0]: 7, r"1\..*\." + LINEARS[family][-1]: 2},
        alpha_pattern={LINEARS[family][0]: 3, r"^.*0\..*\." + LINEARS[family][-1]: 5},
    ),
    "one-layer": lambda family: lora(target_modules=LINEARS[family], layers_to_transform=[1]),
    "ia3-default": lambda family: peft.IA3Config(task_type="FEATURE_EXTRACTION"),
    "ia3": lambda family: peft.IA3Config(
        task_type="FEATURE_EXTRACTION",
        target_modules=LINEARS[family][:2] + LINEARS[family][-1:],
        feedforward_modules=LINEARS[family][-1:] if family in ("distilbert",) else [],
    ),
    "prompt": lambda family: peft.PromptTuningConfig(
        task_type="FEATURE_EXTRACTION", num_virtual_tokens=5, token_dim=32, num_layers=2, num_attention_heads=4
    ),
}
BEYOND_PEFT = [
    ("one-layer", "modernbert"),  # its names have nothing before "layers", where peft looks for a layer's number
    ("ia3-default", "distilbert"),  # peft knows no modules for these two
    ("ia3-default", "modernbert"),
]


def theirs(model: PreTrainedModel, config: peft.PeftConfig) -> peft.PeftModel:
    """A module of peft whose every tensor is far from its start."""
    made = peft.get_peft_model(copy.deepcopy(model), config).eval()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=rng) * 0.1)
    return made


def states(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Of the text's tokens, which stand last where there are prompts."""
    out = model(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
    return out[:, out.shape[1] - batch.inputs.shape[1] :]


def entry(adapter: Adapter, encoder: Encoder, **card: Any) -> Entry:
    facts = {"kind": "adapter", "pooling": "mean", "head": "none", "labels": (), "tensors": {}} | card
    name, values = method.name_of(adapter.method), folder.arguments(adapter.method)
    made = Card(method=name, arguments=values, encoder=keep.reference(encoder), **facts)
    return Entry(made, flatten(adapter.params), {"weight": torch.ones(2, 32)} if card else {})


@pytest.mark.parametrize(("case", "family"), [(c, f) for c in CONFIGS for f in LINEARS if (c, f) not in BEYOND_PEFT])
def test_what_peft_saved_computes_the_same_here_and_back_there(case: str, family: str, tmp_path: Path) -> None:
    encoder, batch = tiny.encoder(family), tiny.batch()
    reference = theirs(encoder.model, CONFIGS[case](family))
    reference.save_pretrained(str(tmp_path / "there"))
    wanted = states(reference, batch)
    assert tiny.gap(wanted, states(encoder.model, batch)) > 0.01

    bare = copy.deepcopy(encoder.model)
    model = AdaptedEncoder(encoder)
    imported = exchange.read(tmp_path / "there", model)
    assert (imported.library, imported.head, imported.notes) == ("peft", None, ())
    model.load([imported.adapter])
    assert tiny.gap(model(batch), wanted) <= 1e-5

    assert peft_write.write(entry(imported.adapter, encoder), model, tmp_path / "back") == ()
    again = peft.PeftModel.from_pretrained(bare, str(tmp_path / "back")).eval()
    assert tiny.gap(states(again, batch), wanted) <= 1e-5


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
@pytest.mark.parametrize(
    "kind",
    [
        LoRA(4, 8.0),
        LoRA(4, 7.0, rank_stabilized=True, targets=ALL),
        LoRA(2, 3.0, targets=("value", "ffn_in"), layers="1"),
        IA3(targets=("key", "value", "ffn_act")),
        IA3(targets=("value", "attn_act"), layers="0"),
        Prompt(3),
    ],
    ids=str,
)
def test_what_we_learned_computes_the_same_in_peft(kind: Described, family: str, tmp_path: Path) -> None:
    encoder, batch = tiny.encoder(family), tiny.batch()
    bare = copy.deepcopy(encoder.model)
    model = AdaptedEncoder(encoder)
    adapter = tiny.trained(kind, model)
    peft_write.write(entry(adapter, encoder), model, tmp_path)
    loaded = peft.PeftModel.from_pretrained(bare, str(tmp_path)).eval()
    model.load([adapter])
    assert tiny.gap(states(loaded, batch), model(batch)) <= 1e-5
    model.load([exchange.read(tmp_path, model).adapter])
    assert tiny.gap(states(loaded, batch), model(batch)) <= 1e-5


@pytest.mark.parametrize("family", [family for family in tiny.FAMILIES if family not in LINEARS])
def test_every_other_family_computes_the_same_in_peft(family: str, tmp_path: Path) -> None:
    encoder, batch = tiny.encoder(family), tiny.batch_for(family)
    bare = copy.deepcopy(encoder.model)
    model = AdaptedEncoder(encoder)
    adapter = tiny.trained(LoRA(4, 8.0, targets=("value", "attn_out", "ffn_in", "ffn_out")), model)
    peft_write.write(entry(adapter, encoder), model, tmp_path)
    model.load([exchange.read(tmp_path, model).adapter])
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (f"{type(bare).__name__}.from_pretrained" in page) == family.startswith(("clip", "siglip"))
    loaded = peft.PeftModel.from_pretrained(bare, str(tmp_path)).eval()
    given = {"pixel_values": batch.inputs} if family in tiny.IMAGES else {"input_ids": batch.inputs}
    if batch.mask is not None:
        given["attention_mask"] = batch.mask
    assert tiny.gap(model(batch), loaded(**given).last_hidden_state) <= 1e-5
    model.load([])
    assert tiny.gap(model(batch), loaded(**given).last_hidden_state) > 0.01


def test_target_modules_are_just_the_modules_that_have_tensors(tmp_path: Path) -> None:
    encoder = tiny.encoder()
    model = AdaptedEncoder(encoder)
    peft_write.write(entry(tiny.trained(LoRA(targets=("ffn_out",)), model), encoder), model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["target_modules"] == [f"encoder.layer.{i}.output.dense" for i in range(2)]
    loaded = peft.PeftModel.from_pretrained(encoder.model, str(tmp_path))
    assert sum("lora_A" in name for name, _ in loaded.named_parameters()) == 2


def test_parts_of_a_fused_projection_with_other_a_become_one_of_higher_rank(tmp_path: Path) -> None:
    encoder = tiny.encoder("modernbert")
    model = AdaptedEncoder(encoder)
    peft_write.write(entry(tiny.trained(LoRA(3, targets=("query", "value")), model), encoder), model, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    key = "base_model.model.layers.0.attn.Wqkv.lora_"
    assert (tensors[f"{key}A.weight"].shape, tensors[f"{key}B.weight"].shape) == ((6, 32), (96, 6))
    assert not tensors[f"{key}B.weight"][32:64].any()  # the keys' rows


def test_the_head_lies_beside_in_a_file_of_ours_and_is_said(tmp_path: Path) -> None:
    encoder = tiny.encoder()
    model = AdaptedEncoder(encoder)
    stored = entry(tiny.trained(LoRA(), model), encoder, head="classify", labels=("no", "yes"))
    [note] = peft_write.write(stored, model, tmp_path)
    assert "continual_head.safetensors, which peft does not read" in note
    assert torch.equal(load_file(tmp_path / "continual_head.safetensors")["weight"], stored.head["weight"])
    facts = json.loads((tmp_path / "continual_head.json").read_text(encoding="utf-8"))
    assert facts == {"head": "classify", "labels": ["no", "yes"], "pooling": "mean"}
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert page.startswith("---\nlibrary_name: peft\n")
    assert "PeftModel.from_pretrained" in page
    assert note in page
    peft_write.write(entry(tiny.trained(LoRA(), model), encoder), model, tmp_path)
    assert not (tmp_path / "continual_head.json").exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Bottleneck(4), "bottleneck cannot be written for peft; can be: lora, ia3, prompt"),
        (Bundle({"lora": {}}), "bundle cannot be written for peft"),
        (LoRA(targets=("ffn_norm",)), "acts at 0/ffn_norm, where peft has nothing"),
        (LoRA(targets=("ffn_act",)), "acts at 0/ffn_act, where peft has nothing"),
        (IA3(targets=("ffn_out", "ffn_act")), "is scaled before and behind; peft has one vector for a module"),
    ],
)
def test_what_peft_does_not_have_is_not_written(kind: Described, said: str, tmp_path: Path) -> None:
    encoder = tiny.encoder()
    model = AdaptedEncoder(encoder)
    with pytest.raises(ContinualError) as error:
        peft_write.write(entry(tiny.trained(kind, model), encoder), model, tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


# DeBERTa projects relative positions through the same weights as words


def test_query_and_key_of_deberta_are_refused_both_ways(tmp_path: Path) -> None:
    encoder = tiny.encoder("deberta-v2")
    theirs(encoder.model, lora(target_modules=["query_proj"])).save_pretrained(str(tmp_path))
    model = AdaptedEncoder(encoder)
    with pytest.raises(ContinualError, match=r"query_proj projects relative positions too \(share_att_key\)"):
        exchange.read(tmp_path, model)
    with pytest.raises(ContinualError, match="projects relative positions too"):
        peft_write.write(entry(tiny.trained(LoRA(), model), encoder), model, tmp_path / "out")


@pytest.mark.parametrize(("shared", "targets"), [(True, ["value_proj"]), (False, ["query_proj", "key_proj"])])
def test_deberta_is_read_where_positions_have_weights_of_their_own(shared: bool, targets: list, tmp_path: Path) -> None:
    source = tiny.model("deberta-v2")
    source.config.share_att_key = shared
    torch.manual_seed(0)
    encoder = wrap(type(source)(source.config).eval(), tiny.tokenizer(), name="deberta", max_length=48)
    reference, batch = theirs(encoder.model, lora(target_modules=targets)), tiny.batch()
    reference.save_pretrained(str(tmp_path))
    model = AdaptedEncoder(encoder)
    model.load([exchange.read(tmp_path, model).adapter])
    assert tiny.gap(model(batch), states(reference, batch)) <= 1e-5


# Heads, and the names of an encoder below one


def below_a_head(kind: type[PreTrainedModel], pooling: str) -> tuple[PreTrainedModel, AdaptedEncoder]:
    torch.manual_seed(0)
    whole = kind(tiny.model().config).eval()  # type: ignore[call-arg]
    whole.config.num_labels = 2
    return whole, AdaptedEncoder(wrap(copy.deepcopy(whole.bert), tiny.tokenizer(), name="tiny", pooling=pooling))


@pytest.mark.parametrize(
    ("kind", "task", "pooling", "name"),
    [
        (BertForSequenceClassification, "SEQ_CLS", "pooler", "classify"),
        (BertForTokenClassification, "TOKEN_CLS", "mean", "tag"),
    ],
)
def test_a_head_that_is_one_linear_gives_peft_s_logits(
    kind: type[PreTrainedModel], task: str, pooling: str, name: str, tmp_path: Path
) -> None:
    whole, model = below_a_head(kind, pooling)
    reference, batch = theirs(whole, lora(task_type=task, target_modules=["query", "value"])), tiny.batch()
    reference.save_pretrained(str(tmp_path))
    imported = exchange.read(tmp_path, model)
    assert (imported.head_name, imported.labels) == (name, ("LABEL_0", "LABEL_1"))
    model.load([imported.adapter])
    read, ours = model.read(batch), head.named(name)
    assert imported.head is not None
    logits = ours.logits(imported.head, read.pooled if name == "classify" else read.tokens, read.mask)
    assert tiny.gap(logits, reference(input_ids=batch.inputs, attention_mask=batch.mask).logits) <= 1e-5


def test_a_head_on_other_states_is_left_behind_and_said(tmp_path: Path) -> None:
    whole, model = below_a_head(BertForSequenceClassification, "mean")
    theirs(whole, lora(task_type="SEQ_CLS", target_modules="all-linear")).save_pretrained(str(tmp_path))
    imported = exchange.read(tmp_path, model)
    assert imported.head is None
    assert "tensors of the pooler were left behind" in imported.notes[0]
    assert "it reads the encoder's pooler, and this encoder pools by mean" in imported.notes[1]


def test_a_prompt_s_head_reads_the_prompt_in_peft_so_it_is_left_behind(tmp_path: Path) -> None:
    whole, model = below_a_head(BertForSequenceClassification, "pooler")
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)
    theirs(whole, config).save_pretrained(str(tmp_path))
    imported = exchange.read(tmp_path, model)
    assert imported.head is None
    assert "in peft it reads the state of the prompt's first vector" in imported.notes[0]


# Folders nobody should trust


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("peft")
    theirs(tiny.model(), lora(target_modules=["query", "value"])).save_pretrained(str(place))
    return place


def changed(saved: Path, place: Path, config: dict[str, Any], change: Callable[[dict[str, Tensor]], Any]) -> Path:
    values = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8")) | config
    (place / "adapter_config.json").write_text(json.dumps(values), encoding="utf-8")
    tensors = load_file(saved / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, place / "adapter_model.safetensors")
    return place


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"use_dora": True}, "use_dora: True cannot be read: DoRA"),
        ({"bias": "all"}, "bias: 'all' cannot be read: biases of the encoder"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out: True"),
        ({"modules_to_save": ["pooler"]}, "modules_to_save: 'pooler' was trained itself"),
        ({"layer_replication": [[0, 1]]}, "layer_replication: [[0, 1]]"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: 'pissa' cannot be read: it also changed the encoder"),
        ({"r": 10**9}, "query.lora_A has the shape [4, 32]; expected [1000000000, 32]"),
        ({"r": 0}, "r: expected a rank of at least 1"),
        ({"r": "4"}, "r: expected int, got '4'"),
        ({"r": True}, "r: expected int, got True"),
        ({"lora_alpha": []}, "lora_alpha: expected int or float, got []"),
        ({"rank_pattern": {"query": 5}}, "query.lora_A has the shape [4, 32]; expected [5, 32]"),
        ({"rank_pattern": {"query": "x"}}, "rank_pattern: expected a number for 'query', got 'x'"),
        ({"rank_pattern": {"[": 5}}, "rank_pattern: '[' is not a pattern"),
        ({"alpha_pattern": {"(a+)+$": 5}}, "alpha_pattern: the pattern '(a+)+$' is too involved"),
        ({"alpha_pattern": {".*.*.*.*x": 5}}, "alpha_pattern: the pattern '.*.*.*.*x' is too involved"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens: [1] is not known to this release"),
        ({"something_new": {"a": 1}}, "something_new: {'a': 1} is not known to this release"),
        ({"target_modules": ["query"]}, "target_modules: ['query'] does not name"),
        (
            {"target_modules": ["query", "value", "key"]},
            "names encoder.layer.0.attention.self.key, which has no tensors",
        ),
        ({"peft_type": "ADALORA"}, "unknown peft_type in"),
        ({"peft_type": ["LORA"]}, "peft_type: expected str, got ['LORA']"),
        ({"peft_type": "IA3"}, "no tensor of the file is called ia3_l"),
        ({"peft_type": "PROMPT_TUNING"}, "tensor prompt_embeddings is missing"),
        ({"lora_dropout": 1}, "method.dropout must be at least 0 and below 1, got 1.0"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_read_faithfully_is_refused(
    config: dict, said: str, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(ContinualError) as error:
        exchange.read(changed(saved, tmp_path, config, lambda tensors: None), tiny.adapted())
    assert said in str(error.value)


KEY = "base_model.model.encoder.layer.0.attention.self.query.lora_"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(f"{KEY}B.weight"), "query.lora_B.weight is missing"),
        (lambda t: t.update({"evil": torch.ones(1)}), "1 tensors cannot be read, the first is evil"),
        (lambda t: t.update({"../../etc.lora_A.weight": t[f"{KEY}A.weight"].clone()}), "lora_B.weight is missing"),
        (
            lambda t: t.update({f"base_model.model.../x.lora_{n}.weight": t[f"{KEY}{n}.weight"].clone() for n in "AB"}),
            "does not name ../x",
        ),
        (lambda t: t.update({f"{KEY}A.weight": torch.ones(4, 31)}), "has the shape [4, 31]; expected [4, 32]"),
        (lambda t: t.update({f"{KEY}A.weight": torch.ones(4)}), "has the shape [4]; expected [4, 32]"),
        (lambda t: t[f"{KEY}A.weight"].fill_(float("inf")), "has NaN or infinite values"),
        (lambda t: t.update({f"{KEY}A.weight": torch.ones(4, 32).bool()}), "is torch.bool; expected floating-point"),
        (
            lambda t: t.update({k.replace("model.enc", "model.bert.enc"): v.clone() for k, v in list(t.items())}),
            "the file has two modules for the site",
        ),
        (lambda t: t.clear(), "no tensor of the file is called lora_A.weight or lora_B.weight"),
    ],
)
def test_tensors_that_are_not_the_configuration_are_refused(
    change: Callable[[dict[str, Tensor]], Any], said: str, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(ContinualError) as error:
        exchange.read(changed(saved, tmp_path, {}, change), tiny.adapted())
    assert said in str(error.value)


def test_a_module_without_a_site_is_refused_with_those_that_have_one(tmp_path: Path) -> None:
    whole = BertForSequenceClassification(tiny.model().config)
    theirs(whole, lora(target_modules=["pooler.dense"])).save_pretrained(str(tmp_path))
    model = AdaptedEncoder(wrap(whole.bert, tiny.tokenizer(), name="tiny", pooling="pooler"))
    with pytest.raises(
        ContinualError, match=r"bert\.pooler\.dense: this encoder has no site on its output; it has: enc"
    ):
        exchange.read(tmp_path, model)


def test_a_pickle_is_never_read(saved: Path, tmp_path: Path) -> None:
    changed(saved, tmp_path, {}, lambda tensors: None)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ContinualError, match=r"adapter_model\.bin is a pickle.*save it again: model\.save_pretrained"):
        exchange.read(tmp_path, tiny.adapted())
