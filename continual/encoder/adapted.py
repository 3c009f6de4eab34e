"""The frozen encoder under the adapters of its rack: what it makes of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from continual.encoder import noise
from continual.encoder.again import Again
from continual.encoder.depth import Start, lowest
from continual.encoder.frozen import Encoder
from continual.encoder.low import Low
from continual.encoder.pool import pooled
from continual.encoder.rack import Rack
from continual.encoder.survey import layers_of
from continual.errors import ContinualError
from continual.method.base import WeightMethod
from continual.types import Batch, States


class AdaptedEncoder(Rack):
    """Hidden states of a frozen encoder under one adapter, under one per row, or under a mix of several.

    An encoder serves one adapted encoder at a time: a new one takes it from the old, which then refuses to answer.

    lower  the precision in which the frozen encoder reads, where that is not its weights' own: its weights, products
           and states between layers. Adapters, their gradients and what heads are given stay as they are. Where its
           weights change, or layers are computed again, products alone are (autocast). None: that of the weights
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.lower: torch.dtype | None = None
        self._low: Low | None = None
        self._floats = all(p.is_floating_point() for p in encoder.model.parameters())  # not so where it is quantized

    def release(self) -> None:
        """Give the encoder back as it was: it may serve another run, which must not meet these adapters."""
        self.claim.undo(self.encoder)

    def train(self, mode: bool = True) -> AdaptedEncoder:
        """Adapters and mixers change mode; the encoder stays in evaluation mode: its own dropout is never used."""
        super().train(mode)
        self.encoder.eval()
        self._recompute()
        return self

    def checkpoint(self, mode: bool = True) -> None:
        """Gradient checkpointing: a layer's activations are computed again when they are needed, not kept.

        Raises ContinualError for a family whose layers transformers cannot checkpoint.
        """
        if mode:
            self.claim.recompute(self.encoder, self.arch, Again(self.route, self.attentions, self.claim))
        else:
            self.claim.keep(self.encoder)
        self._recompute()

    def _recompute(self) -> None:
        # Transformers checkpoints layers in training mode only. The mode of the layer itself switches nothing else:
        # what it is made of, dropout above all, stays in evaluation mode.
        if self.claim.recomputes:
            for layer in layers_of(self.encoder, self.arch):
                layer.training = self.training

    @property
    def stream(self) -> torch.dtype:
        """Of the states between the encoder's layers."""
        if self.lower is not None and self._floats and not self.deltas and not self.claim.recomputes:
            return self.lower
        return next(self.encoder.parameters()).dtype

    @property
    def lowest(self) -> Start:
        """The first place at which what is loaded acts: all below it is a function of the batch alone.

        It is a layer's input, or, where all that acts in the layer stands at the norm that ends it, that norm's.
        """
        if "*" in self.arch.layers:  # its layers are one and the same
            return Start(0)
        acting = [*(address for address, site in self._holders() if site.stacks), *self.deltas]
        layers = len(tuple(layers_of(self.encoder, self.arch)))
        layer, norm = lowest(acting, layers), self.arch.sites["ffn_norm"]
        here = {name for name in acting if lowest([name], layers) == layer}  # in layer 0 prompts and the like too
        ends = norm.how == "norm" and here and here <= {f"{layer}/ffn_norm", f"{layer}/ffn_post"}
        return Start(layer, norm.path if ends else "")

    def forward(self, batch: Batch, noise_seed: Tensor | None = None) -> Tensor:
        """(U, T, d) last hidden states. ``noise_seed`` (U,) turns the adapters' dropout on, row by row."""
        return self.read(batch, noise_seed).tokens

    def under(self, batch: Batch) -> Tensor:
        """(U, T, d) the states at ``lowest``, as ``batch.below`` takes them."""
        whole = replace(batch, below=None)
        with torch.no_grad():
            return self.claim.layers(self.encoder, self.arch).before(self.lowest, lambda: self.read(whole))

    def read(self, batch: Batch, noise_seed: Tensor | None = None) -> States:
        """Last hidden states (U, T, d), and what the encoder's pooling makes of them, (U, d).

        Raises ContinualError for an encoder that was released, and for several adapters of which none is named.
        """
        if not self.claim.live:
            raise ContinualError(
                "this encoder was released, or serves another AdaptedEncoder now; make a new one of it"
            )
        if len(self.loaded) > 1 and batch.member is None and not self.mixed:
            raise ContinualError(
                f"{len(self.loaded)} adapters are loaded: give batch.member (one per row), or mix them"
            )
        self.route.mask, self.route.member = batch.mask, None if self.mixed or len(self.loaded) < 2 else batch.member
        self.route.blocks = batch.blocks if self.route.member is not None else None
        self.route.noise = None
        if noise_seed is not None and batch.step is not None:
            self.route.noise = noise.keys(noise_seed, batch.step, batch.row)
        try:
            self.shared.spread(self.attentions)
            return self._run(batch)
        finally:
            self.route.mask = self.route.member = self.route.blocks = self.route.noise = None
            self.shared.forget(self.attentions)

    def _run(self, batch: Batch) -> States:
        own, stream = next(self.encoder.parameters()).dtype, self.stream
        with self._precision():
            out, tokens = self._encode(batch, stream)
            states: Tensor = out.last_hidden_state.to(own)
            mask = batch.mask
            if tokens is not None:
                states = states.gather(1, tokens[..., None].expand(-1, -1, states.shape[2]))
            if mask is None:
                mask = states.new_ones(states.shape[:2])
            return States(states, pooled(self.pooling, out, states, mask).to(states), mask)

    def _encode(self, batch: Batch, stream: torch.dtype) -> tuple[Any, Tensor | None]:
        """The encoder's own output, and where each row's tokens are in it, if prompts stand before them."""
        inputs: dict[str, Any] = {"input_ids": batch.inputs}
        if self.arch.image:
            inputs = {"pixel_values": batch.inputs.to(stream)}
        mask, segment, tokens = batch.mask, batch.segment, None
        if (prompt := self._prompt) is not None:
            mask = mask if mask is not None else torch.ones_like(batch.inputs)
            embeddings = self.encoder.get_input_embeddings()(batch.inputs)  # type: ignore[operator]
            embeddings, mask, segment, tokens = prompt.insert(embeddings, mask, segment)
            self.route.mask = mask  # what is averaged over from here on has the prompts too
            inputs = {"inputs_embeds": embeddings}
        if mask is not None:
            inputs["attention_mask"] = mask
        if segment is not None and self.segments:
            inputs["token_type_ids"] = segment
        with self._begun(batch.below):
            out = functional_call(self.encoder, self._changed(), (), inputs) if self.deltas else self.encoder(**inputs)
        return out, tokens

    def _begun(self, below: Tensor | None) -> AbstractContextManager[object]:
        if below is None:
            return nullcontext()
        return self.claim.layers(self.encoder, self.arch).begun(self.lowest, below)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        if self.lower is None:
            yield
        elif self.stream != self.lower:
            with torch.autocast(next(self.encoder.parameters()).device.type, self.lower):
                yield
        else:
            if self._low is None or self._low.dtype != self.lower:
                self._low = Low(self.encoder, self.lower)
            self.route.low = self.lower
            try:
                with self._low.reading():
                    yield
            finally:
                self.route.low = None

    def _changed(self) -> dict[str, Tensor]:
        method = self.loaded[0].method
        assert isinstance(method, WeightMethod)
        return method.changed({name: tensor[0] for name, tensor in self.deltas.items()}, self.weights)
