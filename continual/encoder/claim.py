"""What an adapted encoder does to a Hugging Face model, kept together so that all of it can be undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from continual.encoder.arch import Arch
from continual.encoder.depth import Depth
from continual.encoder.survey import layers_of
from continual.errors import ContinualError


@dataclass
class Claim:
    """One adapted encoder's hold on a model.

    live       until it is undone, or another adapted encoder takes the model
    hooks      of its sites
    attention  the attention implementation that was there before
    originals  (module, name, parameter) of what a merged module replaced
    recomputes whether layers are checkpointed
    depth      stands between the model and its layers, where a forward was to begin or end at one
    """

    attention: str
    live: bool = True
    hooks: list[RemovableHandle] = field(default_factory=list)
    originals: list[tuple[nn.Module, str, nn.Parameter | None]] = field(default_factory=list)
    recomputes: bool = False
    depth: Depth | None = None

    def unmerge(self) -> None:
        """Put the model's own parameters back."""
        for module, name, parameter in self.originals:
            setattr(module, name, parameter)
        self.originals.clear()

    def recompute(self, model: PreTrainedModel, arch: Arch, again: Callable[..., Any]) -> None:
        """Let transformers checkpoint the layers. Raises ContinualError for a family whose layers it cannot."""
        if not all(hasattr(layer, "gradient_checkpointing") for layer in layers_of(model, arch)):
            raise ContinualError(
                "trainer.gradient_checkpointing=true: transformers cannot checkpoint the layers of "
                f"{model.config.model_type}; lower trainer.batch_size instead"
            )
        model._set_gradient_checkpointing(enable=True, gradient_checkpointing_func=again)
        self.recomputes = True

    def keep(self, model: PreTrainedModel) -> None:
        """The opposite: layers keep what their backward pass needs."""
        if self.recomputes:
            model._set_gradient_checkpointing(enable=False)
            model.eval()
            self.recomputes = False

    def layers(self, model: PreTrainedModel, arch: Arch) -> Depth:
        """What lets a forward begin or end at one of the model's layers."""
        if self.depth is None:
            self.depth = Depth(tuple(layers_of(model, arch)))
        return self.depth

    def undo(self, model: PreTrainedModel) -> None:
        """The model as it was before the claim."""
        if not self.live:
            return
        for hook in self.hooks:
            hook.remove()
        if self.depth is not None:
            self.depth.remove()
        for module in model.modules():
            module.__dict__.pop("_site", None)
        if str(model.config._attn_implementation) != self.attention:
            model.set_attn_implementation(self.attention)
        self.keep(model)
        self.unmerge()
        self.live = False
        model.__dict__.pop("_claim", None)


def claim(model: PreTrainedModel) -> Claim:
    """The model for a new adapted encoder; the one that had it before has it no more."""
    if (before := model.__dict__.get("_claim")) is not None:
        before.undo(model)
    made = Claim(str(model.config._attn_implementation))
    model.__dict__["_claim"] = made
    return made
