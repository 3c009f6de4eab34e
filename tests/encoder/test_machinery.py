"""What people do with modules: checkpoint activations, compile, copy, pickle, lower the precision, use two devices."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.multiprocessing as mp
import transformers as hf
from torch import Tensor
from torch.nn import Module

from continual.adapter import flatten, fresh
from continual.encoder import attention
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.again import Again
from continual.encoder.frozen import fingerprint, wrap
from continual.encoder.merge import merge
from continual.encoder.site import Route
from continual.encoder.survey import layers_of
from continual.errors import ContinualError
from continual.method import named
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from continual.method.prompt import Prompt
from continual.trainer import Machine, learn
from continual.types import Batch
from tests import tiny

NO_CHECKPOINTS = ("albert", "mpnet")
NO_INTERFACE = ("deberta-v2", "mpnet")  # whose attention does not go through transformers' interface
NETWORKED = {"methods": {"prefix_mlp": {"length": 3, "bottleneck": 8}, "bottleneck": {}, "lora": {}}, "shared": False}
KINDS: list[Described] = [
    LoRA(), Bottleneck(), named("ia3", {}), named("prefix_mlp", {}), named("bundle", {}), named("unipelt", NETWORKED)
]  # fmt: skip


def loaded(family: str, train: bool = False) -> tuple[AdaptedEncoder, Batch]:
    """Three adapters of different methods, each with rows of its own: LoRA, a prefix, and behind gates both."""
    model = tiny.adapted(family)
    prefix = "prefix" if "0/attention" in model.sites else "ia3"
    kinds = [LoRA(), named(prefix, {}), named("unipelt", {"methods": {prefix: {}, "bottleneck": {}, "lora": {}}})]
    model.load([tiny.trained(m, model, i) for i, m in enumerate(kinds)], train=range(3) if train else ())
    return model, replace(tiny.batch_for(family), member=torch.arange(6) % 3)


def gradients(model: AdaptedEncoder, batch: Batch) -> list[Tensor]:
    model.train()
    model.zero_grad()
    model(batch).square().sum().backward()
    return [parameter.grad.clone() for parameter, _ in model.slices()]


@pytest.mark.parametrize("family", [family for family in tiny.FAMILIES if family not in NO_CHECKPOINTS])
def test_checkpointed_layers_give_the_same_gradients(family: str) -> None:
    model, batch = loaded(family, train=True)
    wanted = gradients(model, batch)
    model.checkpoint()
    calls = []
    layer = model.sites["0/query"] if "0/query" in model.sites else next(iter(model.sites.values()))
    handle = layer.register_forward_hook(lambda *_: calls.append(1))
    found = gradients(model, batch)
    handle.remove()
    for a, b in zip(found, wanted, strict=True):
        assert tiny.gap(a, b) <= 1e-5 * float(b.abs().max().clamp_min(1.0))
    assert len(calls) == (4 if family == "deberta-v2" else 2)  # the layer did run a second time


@pytest.mark.parametrize("family", NO_CHECKPOINTS)
def test_a_family_that_cannot_be_checkpointed_says_so(family: str) -> None:
    with pytest.raises(ContinualError, match=f"cannot checkpoint the layers of {family}; lower"):
        tiny.adapted(family).checkpoint()


@pytest.mark.parametrize("method", KINDS, ids=lambda method: type(method).__name__)
def test_a_module_learns_the_same_with_checkpointing(method: Described) -> None:
    found = []
    for machine in (Machine(), Machine(gradient_checkpointing=True)):
        model = tiny.adapted()
        request = tiny.request(model, fresh(method, model.shapes, model.weights, 0), epochs=1)
        [learned] = learn(model, [request], machine, tiny.QUIET)
        found.append(learned.adapter.params)
    for address, params in found[0].items():
        for name, tensor in params.items():
            assert tiny.gap(found[1][address][name], tensor) < 1e-4, (address, name)


@pytest.mark.parametrize("method", [named("unipelt", NETWORKED), Bottleneck(dropout=0.5)], ids=["unipelt", "dropout"])
def test_layers_are_computed_again_as_they_were_though_other_rows_were_read_since(method: Described) -> None:
    model = tiny.adapted()
    model.load([tiny.trained(method, model, seed) for seed in range(2)], train=range(2))
    model.train()
    first = replace(tiny.batch(), member=torch.arange(6) % 2, step=torch.zeros(6, dtype=torch.long))
    other = replace(tiny.batch(3, 7, seed=1), member=torch.tensor([1, 1, 0]))
    weight = torch.randn(6, 9, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for again in (False, True):
        model.checkpoint(again)
        model.zero_grad()
        loss = (model(first, torch.arange(6)) * weight).sum() + model(other).tanh().sum()
        with torch.no_grad():
            model(other)
        loss.backward()
        found.append([parameter.grad for parameter, _ in model.slices()])
        assert model.route == Route()
    assert max(float(a.abs().max()) for a in found[0]) > 1
    for a, b in zip(*found, strict=True):
        assert tiny.gap(a, b) <= 1e-5 * float(a.abs().max())


def test_a_layer_that_is_called_again_begins_where_it_began() -> None:
    """As transformers before 5.23 has it: what is called again is the layer, not its ``forward``."""
    model, batch = tiny.adapted(), tiny.batch()
    model.load([tiny.trained(LoRA(layers="1-"), model)], train=[0])
    depth, layer = model.claim.layers(model.encoder, model.arch), list(layers_of(model.encoder, model.arch))[1]
    below = model.under(batch)
    found = []
    for call in (Module.__call__, Again(model.route, model.attentions, model.claim)):
        model.zero_grad()
        with depth.begun(model.lowest, below):
            out = call(layer, torch.zeros_like(below))
        (out if isinstance(out, Tensor) else out[0]).cos().sum().backward()
        found.append([parameter.grad for parameter, _ in model.slices()])
    assert max(float(a.abs().max()) for a in found[0]) > 0.1
    for a, b in zip(*found, strict=True):
        assert tiny.gap(a, b) <= 1e-5 * float(a.abs().max())


def _note(calls: list[bool], *_: object) -> None:
    calls.append(torch.is_grad_enabled())


@pytest.mark.parametrize("method", [Bottleneck(), LoRA(layers="1-")], ids=lambda method: type(method).__name__)
def test_every_training_computes_its_layers_again_above_the_states_that_are_kept(method: Described) -> None:
    model = tiny.adapted()
    request = tiny.request(model, fresh(method, model.shapes, model.weights, 0), epochs=2)
    wanted = flatten(learn(model, [request], Machine(cache=0), tiny.QUIET)[0].adapter.params)
    first, last = (list[bool]() for _ in range(2))
    for calls, layer in zip((first, last), layers_of(model.encoder, model.arch), strict=True):
        layer.get_submodule("attention").register_forward_hook(partial(_note, calls))
    for _ in range(2):  # as the tasks of a run
        first.clear()
        last.clear()
        [learned] = learn(model, [request], Machine(gradient_checkpointing=True), tiny.QUIET)
        assert sum(last) == 2 * learned.steps
        assert not any(first)  # its states were computed once, without gradients
        for name, tensor in flatten(learned.adapter.params).items():
            assert tiny.gap(tensor, wanted[name]) < 1e-4, name
    last.clear()
    [learned] = learn(model, [request], Machine(), tiny.QUIET)
    assert sum(last) == learned.steps


@pytest.mark.parametrize("family", tiny.FAMILIES)
@torch.no_grad()
def test_copies_and_pickles_answer_the_same_and_are_independent(family: str) -> None:
    model, batch = loaded(family)
    wanted = model(batch)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(made(batch), wanted)
        made.load([])
        assert tiny.gap(made(batch), wanted) > 1e-3
        assert torch.equal(model(batch), wanted)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_bf16_stays_finite_and_near(family: str) -> None:
    model, batch = loaded(family, train=True)
    with torch.no_grad():
        wanted = model(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(batch)
    found.float().square().mean().backward()
    found = found.detach().float()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter, _ in model.slices())
    assert float((found - wanted).abs().mean() / wanted.abs().mean()) < 0.3  # matrices were made 4 x too large


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_attention_written_out_for_bf16_on_a_cpu_is_the_fused_one(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With prefixes, padding, and the causal attention of CLIP's texts: as near to float32, and so are gradients."""

    def found(lower: torch.dtype | None) -> list[Tensor]:
        model, batch = loaded(family, train=True)
        model.lower = lower
        model.train()
        states = model(batch)
        (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
        return [states.detach(), torch.cat([parameter.grad.flatten() for parameter, _ in model.slices()])]

    calls, written = [], attention._written_out
    monkeypatch.setattr(attention, "_written_out", lambda *given: calls.append(1) or written(*given))
    exact, ours = found(None), found(torch.bfloat16)
    assert bool(calls) == (family not in NO_INTERFACE)
    monkeypatch.setattr(attention, "_slow", lambda query: False)
    for one, other, wanted in zip(ours, found(torch.bfloat16), exact, strict=True):
        assert float((one - wanted).norm()) <= 1.5 * float((other - wanted).norm())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_in_a_lower_precision_it_answers_nearly_the_same_and_gives_float32(family: str) -> None:
    model, batch = loaded(family, train=True)
    exact = model.read(batch).tokens.detach()
    model.lower = torch.bfloat16
    found = model.read(batch)
    assert found.tokens.dtype == found.pooled.dtype == torch.float32
    assert 0 < float((found.tokens.detach() - exact).norm() / exact.norm()) < 0.05  # matrices were made 4 x too large
    found.pooled.square().mean().backward()
    assert {parameter.grad.dtype for parameter, _ in model.slices()} == {torch.float32}
    model.lower = None
    assert not torch.equal(model.read(batch).tokens, found.tokens)


@pytest.mark.parametrize(
    "family",
    ["bert", *(pytest.param(f, marks=pytest.mark.slow) for f in ("modernbert", "vit", "mpnet", "clip_text_model"))],
)
@torch.no_grad()
def test_compiled_as_one_graph_it_answers_the_same(family: str) -> None:
    torch._dynamo.reset()
    model, batch = loaded(family)
    wanted = model(batch)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert tiny.gap(compiled(batch), wanted) <= 1e-5 * float(wanted.abs().max())


@torch.no_grad()
def test_a_prompt_compiles_as_one_graph() -> None:
    torch._dynamo.reset()
    model, batch = tiny.adapted(), tiny.batch()
    model.load([tiny.trained(Prompt(), model)])
    wanted = model(batch)
    assert tiny.gap(torch.compile(model, fullgraph=True, backend="aot_eager")(batch), wanted) <= 1e-5


def test_an_encoder_that_is_given_back_is_as_it_was() -> None:
    encoder = tiny.encoder()
    how = encoder.model.config._attn_implementation
    model = AdaptedEncoder(encoder)
    model.checkpoint()
    model.release()
    assert encoder.model.config._attn_implementation == how
    assert not any(module.__dict__.get("_site") or module._forward_hooks for module in encoder.model.modules())
    assert not any(
        module.training or getattr(module, "gradient_checkpointing", False) for module in encoder.model.modules()
    )


def _on_two(rank: int, port: int, expected: list[Tensor]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model, batch = loaded("bert", train=True)
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    half = slice(rank * 3, rank * 3 + 3)
    mine = Batch(batch.inputs[half], batch.mask[half], batch.row[half], member=batch.member[half])
    wrapped(mine).square().sum().backward()
    for (parameter, _), wanted in zip(model.slices(), expected, strict=True):
        assert tiny.gap(parameter.grad * 2, wanted) <= 1e-4 * float(
            wanted.abs().max().clamp_min(1.0)
        )  # DDP takes means
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_one() -> None:
    model, batch = loaded("bert", train=True)
    wanted = gradients(model, batch)
    mp.spawn(_on_two, args=(29876, wanted), nprocs=2)


def test_an_encoder_serves_the_newest_and_the_older_one_refuses() -> None:
    encoder = tiny.encoder()
    first = AdaptedEncoder(encoder)
    first.load([tiny.trained(Prefix(), first), tiny.trained(LoRA(), first)])
    second = AdaptedEncoder(encoder)
    bare = tiny.adapted()(tiny.batch())
    assert torch.equal(second(tiny.batch()), bare)  # nothing of the first is left
    with pytest.raises(ContinualError, match="was released, or serves another AdaptedEncoder"):
        first(tiny.batch())
    second.release()
    with pytest.raises(ContinualError, match="was released"):
        second(tiny.batch())
    assert encoder.model.config._attn_implementation == "sdpa"


def test_a_released_encoder_has_its_own_weights_again() -> None:
    encoder = tiny.encoder()
    model = AdaptedEncoder(encoder)
    merge(model, tiny.trained(LoRA(), model))
    assert fingerprint(encoder.model) != encoder.fingerprint
    AdaptedEncoder(encoder)
    assert fingerprint(encoder.model) == encoder.fingerprint


def test_dropout_of_a_checkpointed_step_does_not_reach_the_next_evaluation() -> None:
    model = tiny.adapted()
    model.checkpoint()
    model.load([tiny.trained(Bottleneck(dropout=0.5), model)], train=[0])
    model.train()
    batch = tiny.batch()
    with torch.no_grad():
        wanted = model(batch)
    batch.step = torch.zeros(6, dtype=torch.long)
    model(batch, torch.zeros(6, dtype=torch.long)).sum().backward()
    batch.step = None
    with torch.no_grad():
        assert torch.equal(model(batch), wanted)


@pytest.mark.parametrize("name", ["full", "sparse"])
def test_weights_that_change_cannot_be_checkpointed(name: str) -> None:
    model = tiny.adapted()
    adapter = tiny.trained(named(name, {"rule": "random"} if name == "sparse" else {}), model)
    model.checkpoint()
    with pytest.raises(ContinualError, match="computes layers again with the encoder's own weights"):
        model.load([adapter], train=[0])


def test_a_module_of_another_shape_is_refused_when_it_is_loaded() -> None:
    model = tiny.adapted()
    for method, address, name, size in (
        (LoRA(rank=2), "0/query", "a", (2, 64)),
        (Prefix(2), "1/attention", "key", (2, 2, 16)),
        (Prompt(2), "encoder/embedding", "prompt", (2, 16)),
    ):
        adapter = tiny.trained(method, model)
        adapter.params[address][name] = torch.zeros(size)
        if name == "key":
            adapter.params[address]["value"] = torch.zeros(size)
        with pytest.raises(ContinualError, match=rf"{address}: \w+ with .* does not fit a site that reads 32"):
            model.load([adapter])
    other = tiny.trained(named("full", {}), tiny.adapted("distilbert"))
    with pytest.raises(ContinualError, match="changes other weights than this encoder's"):
        model.load([other])


@torch.no_grad()
def test_a_prefix_before_causal_attention_lets_no_word_see_a_later_one() -> None:
    """Without padding transformers gives no mask and says "causal": sdpa's own would begin at the prefix."""
    model = tiny.adapted("clip_text_model")
    model.load([tiny.trained(Prefix(3), model)])
    batch = tiny.batch(short=9)
    wanted = model(batch)
    batch.inputs[:, 5:] = 7
    assert tiny.gap(model(batch)[:, :5], wanted[:, :5]) < 1e-5
    assert tiny.gap(model(batch)[:, 5:], wanted[:, 5:]) > 1e-3
    batch.inputs[:, 0] = 9
    assert tiny.gap(model(batch)[:, 4], wanted[:, 4]) > 1e-4  # and each sees the earlier ones


def test_a_prompt_and_the_encoders_pooler_are_refused_together() -> None:
    made = hf.BertModel(hf.BertConfig(**tiny._TEXT))
    model = AdaptedEncoder(wrap(made, tiny.tokenizer(), name="x", max_length=16, pooling="pooler"))
    with pytest.raises(ContinualError, match="pooler reads the first position, where a prompt stands"):
        model.load([tiny.trained(Prompt(2), model)])
