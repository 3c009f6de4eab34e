"""An encoder of 8- or 4-bit codes answers as the plain encoder whose linears hold the decoded weights, and is trained
through in the same way."""

from __future__ import annotations

import copy
import importlib.util
import logging
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.adapter import fresh
from continual.encoder import quantize as module
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import fingerprint, wrap
from continual.encoder.quantize import SCHEMES, QuantizedLinear, quantize
from continual.errors import ContinualError
from continual.method.lora import LoRA
from tests import tiny

needs = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (the extra 'quantize')"
)
schemes = pytest.mark.parametrize("scheme", SCHEMES)
BYTES = {"int8": 0.30, "nf4": 0.20}  # of float32, maxima included

NF4 = torch.tensor(  # Dettmers et al. 2023, appendix E
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ]
)  # fmt: skip


def made(scheme: str, family: str = "bert") -> nn.Module:
    return quantize(tiny.model(family).requires_grad_(False).eval(), scheme)


def decoded(model: nn.Module) -> nn.Module:
    """The oracle: torch's own linear layers, with the weights that the codes stand for."""
    model = copy.deepcopy(model)
    for path, layer in list(model.named_modules()):
        if isinstance(layer, QuantizedLinear):
            plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
            plain.weight, plain.bias = nn.Parameter(layer.decoded()), layer.bias
            model.set_submodule(path, plain.requires_grad_(False))
    return model


def states(model: nn.Module) -> Tensor:
    ids = torch.randint(5, 256, (6, 9), generator=torch.Generator().manual_seed(0))
    return model(input_ids=ids, attention_mask=tiny.batch().mask).last_hidden_state


def reading(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a model makes of embeddings, and the gradient that reaches them."""
    x = x.clone().requires_grad_()
    y = model(inputs_embeds=x, attention_mask=tiny.batch().mask).last_hidden_state
    (y * torch.linspace(-1, 1, y.shape[-1], dtype=y.dtype)).sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad


@needs
@schemes
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_answers_are_those_of_the_decoded_encoder(scheme: str, family: str) -> None:
    model, plain = made(scheme, family), tiny.model(family).eval()
    assert tiny.gap(states(model), states(decoded(model))) <= 1e-5
    assert not [path for path, layer in model.named_modules() if type(layer) is nn.Linear]
    off = F.mse_loss(states(model), states(plain)).sqrt() / states(plain).std()
    assert 0 < off < (0.05 if scheme == "int8" else 0.5)  # the weights of tiny encoders are wild


@needs
@schemes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_gradient_to_the_input_is_that_of_the_decoded_encoder(scheme: str, dtype: torch.dtype) -> None:
    model = made(scheme)
    plain, x = decoded(model).to(dtype), torch.randn(6, 9, 32).to(dtype)
    with torch.no_grad():
        model.to(dtype)(inputs_embeds=x)  # a forward without gradients changes nothing for the next one with them
    ours, theirs = reading(model, x), reading(plain, x)
    bound = {torch.float32: 1e-5, torch.float64: 1e-10, torch.bfloat16: 0.2}[dtype]
    for got, wanted in zip(ours, theirs, strict=True):
        assert got.dtype == dtype
        assert tiny.gap(got, wanted) <= bound * float(wanted.abs().max().clamp_min(1))


@needs
@schemes
@pytest.mark.parametrize("shape", [(7, 96), (48, 64), (5, 33), (1, 3), (40, 312)], ids=str)
def test_decoded_weights_are_those_of_the_paper(scheme: str, shape: tuple[int, int]) -> None:
    linear = nn.Linear(shape[1], shape[0])
    weight = linear.weight.detach()
    weight[0], weight[-1, -1] = 0, 3.0  # rows of zeros, and far weights
    if scheme == "int8":
        top = weight.abs().amax(1, keepdim=True)
        wanted = torch.round(weight / top.clamp_min(1e-30) * 127) * top / 127
    else:
        blocks = F.pad(weight.flatten(), (0, -weight.numel() % 64)).view(-1, 64, 1)
        top = blocks.abs().amax(1, keepdim=True)
        nearest = (blocks / top.clamp_min(1e-30) - NF4).abs().argmin(-1)
        wanted = (NF4[nearest] * top[..., 0]).flatten()[: weight.numel()].view(shape)
    assert tiny.gap(QuantizedLinear(linear, scheme).decoded(), wanted) <= 1e-6


@needs
@schemes
def test_weights_take_the_bytes_that_are_promised(scheme: str) -> None:
    layer = QuantizedLinear(nn.Linear(384, 384), scheme)
    assert layer.codes.nbytes + layer.scales.nbytes < BYTES[scheme] * 4 * 384 * 384
    assert sum(p.numel() for p in layer.parameters()) == 384  # only the bias is left in full


@needs
@schemes
def test_no_decoded_weight_is_kept_for_the_backward_pass(scheme: str) -> None:
    layer = QuantizedLinear(nn.Linear(64, 48), scheme)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(torch.randn(2, 64, requires_grad=True))
    assert kept
    assert not [t for t in kept if t.is_floating_point() and t.numel() >= 64 * 48]


@needs
@schemes
def test_lora_learns_over_codes(scheme: str) -> None:
    model = AdaptedEncoder(wrap(made(scheme), tiny.tokenizer(), name="tiny"))
    before = fingerprint(model.encoder)
    model.load([fresh(LoRA(rank=4, targets=("query", "ffn_out")), model.shapes, model.weights, 0)], train=[0])
    learned = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in learned]
    optimizer = torch.optim.AdamW(learned, lr=1e-2)
    batch, labels = tiny.batch(), torch.arange(6) % 2
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(model(batch)[:, 0, :2], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and bool(p.grad.any()) for p in learned)  # A too, once B has left zero
    assert all(not torch.equal(p, old) for p, old in zip(learned, start, strict=True))
    assert len(learned) == 2 * 2 * 2  # A and B at two sites of two layers
    assert fingerprint(model.encoder) == before


@needs
@schemes
def test_copies_and_casts_keep_the_codes(scheme: str) -> None:
    model = made(scheme)
    answer = states(model)
    assert torch.equal(states(copy.deepcopy(model)), answer)
    assert torch.equal(states(pickle.loads(pickle.dumps(model))), answer)
    layer = next(layer for layer in model.modules() if isinstance(layer, QuantizedLinear))
    assert torch.equal(copy.deepcopy(layer).to(torch.bfloat16).decoded(), layer.decoded())
    again = quantize(tiny.model("bert", seed=1).eval(), scheme)
    assert fingerprint(again) != fingerprint(model)
    again.load_state_dict(model.state_dict())
    assert torch.equal(states(again), answer)


@needs
@schemes
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own tracing of autograd functions
def test_a_compiled_layer_answers_and_passes_gradients_in_one_graph(scheme: str) -> None:
    layer, x = QuantizedLinear(nn.Linear(64, 48), scheme), torch.randn(2, 64)
    results = []
    for call in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        read = x.clone().requires_grad_()
        y = call(read)
        y.square().sum().backward()
        results.append((y.detach(), read.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert tiny.gap(results[0][1], results[1][1]) <= 1e-5


@needs
def test_a_layer_that_is_shared_stays_shared_and_subclasses_are_left_alone() -> None:
    shared = nn.Linear(8, 8)
    attention = nn.MultiheadAttention(8, 2)
    model = quantize(nn.ModuleDict({"a": shared, "b": shared, "c": attention}), "int8")
    assert model.get_submodule("a") is model.get_submodule("b")
    assert isinstance(model.get_submodule("a"), QuantizedLinear)
    assert isinstance(attention.out_proj, nn.Linear)


@needs
def test_what_cannot_be_quantized_is_refused() -> None:
    with pytest.raises(ContinualError, match="quantized already"):
        quantize(made("int8"), "nf4")
    adapted = tiny.adapted()
    with pytest.raises(ContinualError, match="before adapters are attached"):
        quantize(adapted.encoder, "int8")


@needs
def test_a_device_that_the_library_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = QuantizedLinear(nn.Linear(8, 8), "nf4")

    def fails(*_: object) -> None:
        raise NotImplementedError("no kernel")

    monkeypatch.setattr(torch.ops.bitsandbytes, "dequantize_4bit", fails)
    with pytest.raises(ContinualError, match="nf4 on cpu: bitsandbytes cannot: no kernel"):
        layer(torch.randn(1, 8))


@needs
@pytest.mark.gpu
@schemes
def test_codes_are_read_alike_on_cpu_and_gpu(scheme: str) -> None:
    model = made(scheme)
    layer = QuantizedLinear(nn.Linear(384, 96), scheme)
    assert tiny.gap(copy.deepcopy(layer).cuda().decoded().cpu(), layer.decoded()) <= 1e-6
    x = torch.randn(6, 9, 32)
    (y, grad), plain = reading(model, x), decoded(model)
    with torch.autocast("cuda", torch.bfloat16):
        assert layer.cuda()(torch.randn(2, 384, device="cuda")).dtype == torch.bfloat16
    y_gpu = model.cuda()(inputs_embeds=x.cuda(), attention_mask=tiny.batch().mask.cuda()).last_hidden_state
    assert tiny.gap(y_gpu.cpu(), y) <= 1e-2
    assert tiny.gap(grad, reading(plain, x)[1]) <= 1e-4


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ContinualError, match=r"encoder.quantize 'int4'; choose from: int8, nf4"):
        quantize(nn.Linear(8, 8), "int4")


@schemes
def test_without_the_library_the_extra_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    level = logging.getLogger("bitsandbytes").level
    module._library.cache_clear()
    monkeypatch.setattr(module.importlib, "import_module", missing)
    with pytest.raises(ContinualError, match=r"pip install 'continual-adapters\[quantize\]'"):
        made(scheme)
    assert logging.getLogger("bitsandbytes").level == level
