"""One more adapter takes a slot beside those that are loaded, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.method.base import Bundled, Described, Spread, WeightMethod
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.lora import LoRA
from continual.method.prompt import Prompt
from tests import tiny


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted()


def answers(model: AdaptedEncoder) -> list[Tensor]:
    """The same batch under each adapter that is loaded."""
    found, batch = [], tiny.batch()
    for number in range(len(model.loaded)):
        batch.member = torch.full((len(batch.inputs),), number)
        found.append(model(batch).detach())
    return found


def together(adapters: Sequence[Adapter]) -> list[Tensor]:
    model = tiny.adapted()
    model.load(adapters)
    return answers(model)


def stacks(model: AdaptedEncoder) -> list[int]:
    """Where the tensors of all slots begin."""
    return [tensor.data_ptr() for _, group in model._groups() for tensor in group.stack.values()]


def test_added_one_by_one_they_answer_as_when_loaded_at_once(model: AdaptedEncoder) -> None:
    """Of every method and rank, with gates, some absent at some sites; the last of the first kind has no equal."""
    apart = (Prompt, WeightMethod)
    adapters = tiny.zoo(model) + [tiny.trained(m, model, 5) for m in tiny.methods() if not isinstance(m, apart)]
    adapters += [tiny.trained(LoRA(rank=r), model, r) for r in (4, 2, 8)] + [tiny.trained(Bottleneck(4), model, 9)]
    model.load(adapters[:1])
    for number, adapter in enumerate(adapters[1:], 1):
        assert model.add(adapter) == number
    assert model.loaded == tuple(adapters)
    for one, other in zip(answers(model), together(adapters), strict=True):
        assert tiny.gap(one, other) <= 1e-5
    for number, adapter in enumerate(adapters):
        if not isinstance(adapter.method, Spread | Bundled):  # these are taken as they are stored
            assert tiny.equal(model.take(number).params, adapter.params)


def test_where_there_is_room_nothing_that_is_loaded_moves(model: AdaptedEncoder) -> None:
    adapters = [tiny.trained(LoRA(rank=4), model, seed) for seed in range(17)]
    model.load(adapters[:16])
    before = stacks(model)
    model.add(adapters[16])
    assert stacks(model) == before
    for one, other in zip(answers(model), together(adapters), strict=True):
        assert torch.equal(one, other)


def test_to_none_it_is_the_first(model: AdaptedEncoder) -> None:
    adapter = tiny.trained(Bottleneck(), model)
    assert model.add(adapter) == 0
    assert torch.equal(model(tiny.batch()), together([adapter])[0])


@pytest.mark.parametrize("ranks", [(2, 8), (8, 2)])
def test_a_wider_one_finds_room_too_and_a_narrower_is_padded(model: AdaptedEncoder, ranks: tuple[int, int]) -> None:
    adapters = [tiny.trained(LoRA(rank=rank), model, rank) for rank in ranks]
    model.load(adapters[:1])
    model.add(adapters[1])
    for one, other in zip(answers(model), together(adapters), strict=True):
        assert torch.equal(one, other)


def test_prompts_are_loaded_anew(model: AdaptedEncoder) -> None:
    adapters = [tiny.trained(Prompt(length=n), model, n) for n in (2, 4, 3)]
    model.load(adapters[:1])
    for adapter in adapters[1:]:
        model.add(adapter)
    for one, other in zip(answers(model), together(adapters), strict=True):
        assert torch.equal(one, other)


def test_those_that_were_learning_are_frozen(model: AdaptedEncoder) -> None:
    adapters = [tiny.trained(LoRA(), model, seed) for seed in (1, 2)]
    model.load(adapters[:1], train=[0])
    model.add(adapters[1])
    assert not list(model.slices())


def test_what_cannot_be_beside_others_is_refused(model: AdaptedEncoder) -> None:
    adapters = [tiny.trained(Bottleneck(), model, seed) for seed in (1, 2)]
    model.load(adapters[:1])
    with pytest.raises(ContinualError, match="works alone"):
        model.add(tiny.trained(Full(), model))
    with pytest.raises(ContinualError, match="this encoder has"):
        model.add(Adapter(LoRA(), {"9/query": adapters[0].params[next(iter(adapters[0].params))]}))
    other = tiny.trained(Bottleneck(), model, 3)
    other.params[list(other.params)[-1]]["up"] = torch.zeros(7, 7)  # the sites below have taken it in by then
    with pytest.raises(ContinualError, match="up"):
        model.add(other)
    model.add(adapters[1])
    for one, wanted in zip(answers(model), together(adapters), strict=True):
        assert torch.equal(one, wanted)
    Fusion().install(model, adapters, 0)
    with pytest.raises(ContinualError, match="a mixer is over the adapters"):
        model.add(adapters[0])


@pytest.mark.parametrize("method", tiny.methods(), ids=lambda method: type(method).__name__)
def test_what_is_loaded_goes_to_where_the_encoder_is(method: Described, model: AdaptedEncoder) -> None:
    """No number lies on the meta device, so whatever stays behind is seen."""
    adapter = tiny.trained(method, model)
    model.to("meta").load([adapter])
    held = [*model.named_parameters(), *model.named_buffers()]
    assert not [name for name, tensor in held if not tensor.is_meta]
