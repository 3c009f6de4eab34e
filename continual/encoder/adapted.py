"""The frozen encoder with a site wherever one can be: adapters are loaded into it, mixed in it, and taken out of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from continual.adapter import EMBEDDING, SHARED, WEIGHTS, Adapter, Params
from continual.encoder import noise
from continual.encoder.attention import AttentionSite, SharedSite, attend
from continual.encoder.claim import claim
from continual.encoder.depth import lowest
from continual.encoder.fit import require_room, require_weights
from continual.encoder.frozen import Encoder
from continual.encoder.group import Group
from continual.encoder.low import Low
from continual.encoder.pool import pooled
from continual.encoder.prompt import PromptSite
from continual.encoder.site import Holder, Route, Site
from continual.encoder.survey import layers_of, places
from continual.errors import ContinualError
from continual.method.base import Bundled, Spread, WeightMethod
from continual.types import Batch, Shape, States


class AdaptedEncoder(nn.Module):
    """Hidden states of a frozen encoder under one adapter, under one per row, or under a mix of several.

    All hooks are attached here, once: a hook added after the first compiled call would silently be ignored. What
    changes later are the sites' contents (``load``, ``mix``). The encoder's own modules, parameters and state dict
    stay as Hugging Face made them. An encoder serves one adapted encoder at a time: a new one takes it from the old,
    which then refuses to answer.

    lower  the precision in which the frozen encoder reads, where that is not its weights' own: its weights, products
           and states between layers. Adapters, their gradients and what heads are given stay as they are. Where its
           weights change, or layers are computed again, products alone are (autocast). None: that of the weights
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if getattr(encoder.model.config, "chunk_size_feed_forward", 0):
            raise ContinualError("chunk_size_feed_forward must be 0: gates average over all tokens of a text at once")
        self.arch, self.pooling, self.segments = encoder.arch, encoder.pooling, encoder.segments
        self.max_length, self.positions = encoder.max_length, encoder.positions
        self.encoder = encoder.model
        self.width = encoder.width
        self.claim = claim(encoder.model)
        self.absent: Mapping[str, str] = encoder.absent
        if "attention" not in self.absent and not attend(encoder.model):
            why = f"this release of transformers does not let the attention of {encoder.family} be extended: upgrade it"
            self.absent = {**self.absent, "attention": why}
        self.route = Route()
        self.sites = nn.ModuleDict()
        for address, place, layer, shape in places(encoder.model, self.arch, encoder.heads):
            if place.how == "attention" and "attention" in self.absent:
                continue
            if place.how == "attention":
                site = AttentionSite(address, shape, self.route)
                self.claim.hooks += site.attach(layer, place)
            else:
                site = Site(address, place, shape, self.route, len(self.sites))
                self.claim.hooks += site.attach(layer)
            self.sites[address] = site
        if self.arch.embeds:
            width = encoder.model.get_input_embeddings().weight.shape[1]  # type: ignore[union-attr]
            self.sites[EMBEDDING] = PromptSite(EMBEDDING, Shape(int(width), int(width)), self.route)
        self.shared = SharedSite(SHARED, Shape(self.width, self.width), self.route)
        self._known = {*self.sites, SHARED, WEIGHTS}
        # Lowest layer first. What every forward asks for is found once: a walk over all sites takes as long as a layer.
        self.attentions = [site for site in self.sites.values() if isinstance(site, AttentionSite)]
        self._prompts = [site for site in self.sites.values() if isinstance(site, PromptSite)]
        self.mixed = False
        self.lower: torch.dtype | None = None
        self._low: Low | None = None
        self._floats = all(p.is_floating_point() for p in encoder.model.parameters())  # not so where it is quantized
        self.deltas = nn.ParameterDict()  # a weight method's tensors, slot 0 of a stack of one
        self.loaded: tuple[Adapter, ...] = ()

    def release(self) -> None:
        """Give the encoder back as it was: it may serve another run, which must not meet these adapters."""
        self.claim.undo(self.encoder)

    def train(self, mode: bool = True) -> AdaptedEncoder:
        """Adapters and mixers change mode; the encoder stays in evaluation mode: its own dropout is never used."""
        super().train(mode)
        self.encoder.eval()
        self._recompute()
        return self

    def checkpoint(self) -> None:
        """Gradient checkpointing: a layer's activations are computed again when they are needed, not kept.

        Raises ContinualError for a family whose layers transformers cannot checkpoint.
        """
        self.claim.recompute(self.encoder, self.arch)
        self._recompute()

    def _recompute(self) -> None:
        # Transformers checkpoints layers in training mode only. The mode of the layer itself switches nothing else:
        # what it is made of, dropout above all, stays in evaluation mode.
        if self.claim.recomputes:
            for layer in layers_of(self.encoder, self.arch):
                layer.training = self.training

    @property
    def shapes(self) -> dict[str, Shape]:
        return {address: site.shape for address, site in self._holders() if address != SHARED}

    @property
    def weights(self) -> dict[str, Tensor]:
        return dict(self.encoder.named_parameters())

    @property
    def stream(self) -> torch.dtype:
        """Of the states between the encoder's layers."""
        if self.lower is not None and self._floats and not self.deltas and not self.claim.recomputes:
            return self.lower
        return next(self.encoder.parameters()).dtype

    @property
    def lowest(self) -> int:
        """The first layer in which what is loaded acts: all below it is a function of the batch alone."""
        if "*" in self.arch.layers:  # its layers are one and the same
            return 0
        acting = [address for address, site in self._holders() if site.stacks]
        return lowest([*acting, *self.deltas], len(tuple(layers_of(self.encoder, self.arch))))

    def load(self, adapters: Sequence[Adapter], *, train: Collection[int] = ()) -> None:
        """Fill the sites with these adapters, replacing what was there; those whose index is in ``train`` learn.

        Raises ContinualError for an adapter made for other sites, and for a weight method beside other adapters.
        """
        for adapter in adapters:
            if foreign := [address for address in adapter.params if address not in self._known]:
                raise ContinualError(f"the adapter has {foreign[:3]}; this encoder has: {', '.join(self.sites)}")
        whole = [i for i, adapter in enumerate(adapters) if isinstance(adapter.method, WeightMethod)]
        if whole and len(adapters) > 1:
            raise ContinualError("a method that changes the encoder's weights works alone: it can't be routed or mixed")
        if whole and train and self.claim.recomputes:
            raise ContinualError(
                "trainer.gradient_checkpointing=true computes layers again with the encoder's own weights, and this "
                "method changes them; set it to false, or choose a method that acts at sites"
            )
        for index in whole:
            require_weights(adapters[index], self.weights)
        device = next(self.encoder.parameters()).device
        for _, site in self._holders():
            site.load(adapters, lambda index: index in train)
        if (prompt := self._prompt) is not None:
            require_room(prompt.longest, self.pooling, self.max_length, self.positions)
        self.deltas = nn.ParameterDict()
        for index in whole:
            fixed = adapters[index].method.fixed
            for name, tensor in adapters[index].params[WEIGHTS].items():
                learns = index in train and name not in fixed
                self.deltas[name] = nn.Parameter(tensor.clone()[None], requires_grad=learns)
        self.loaded, self.mixed = tuple(adapters), False
        self.to(device)

    def add(self, adapter: Adapter) -> int:
        """Load one more beside those that are, which are all frozen then; its number among them.

        It takes a free slot of each stack; where there is none, all are loaded anew. Raises what ``load`` raises, and
        ContinualError under a mixer, which is over the adapters that it was made for.
        """
        if self.mixed:
            raise ContinualError("a mixer is over the adapters that it was made for: load all again, and mix them anew")
        index = len(self.loaded)
        device = next(self.encoder.parameters()).device
        plain = (
            not self.deltas and not isinstance(adapter.method, WeightMethod) and adapter.params.keys() <= self._known
        )
        if not plain or self._prompt is not None or not all(s.add(index, adapter) for _, s in self._holders()):
            self.load([*self.loaded, adapter])
            return index
        self.loaded = (*self.loaded, adapter)
        for _, site in self._holders():
            site.groups.to(device)
        return index

    def mix(
        self,
        make: Callable[[Site], nn.Module] | None,
        prefixes: Callable[[AttentionSite], nn.Module] | None = None,
    ) -> None:
        """Give every site that holds adapters its own mixer, or take all mixers away.

        ``prefixes`` makes those of prefixes, whose keys and values a mixer may multiply (``Prefixes``).

        Raises ContinualError for a prompt, for a prefix without ``prefixes``, and for one that is still spread by a
        network: a mixer is for deltas, and these are none.
        """
        made: dict[Holder, nn.Module] = {}
        for address, site in self._holders():
            maker: Callable[..., nn.Module] | None = prefixes if isinstance(site, AttentionSite) else None
            maker = make if isinstance(site, Site) else maker
            if make is not None and maker is None and site.members:
                raise ContinualError(
                    f"adapters {list(site.members)} act at {address}, not by deltas: stored prefixes can be gated "
                    "(unipelt), prompts used alone or routed, neither mixed; compose modules of other methods"
                )
            if maker is not None and (held := next(site.groups.parameters(), None)) is not None:
                made[site] = maker(site).to(held)  # of the precision and at the place of the adapters that it mixes
        for _, site in self._holders():
            site.mixer = made.get(site)
            for group in site.stacks if site.mixer is not None else ():
                group.widen()
        self.mixed = bool(made)

    def mixers(self) -> dict[str, nn.Module]:
        return {address: site.mixer for address, site in self._holders() if site.mixer is not None}

    def take(self, n: int = 0) -> Adapter:
        """A detached copy of the n-th loaded adapter, as it is now, and as it is stored."""
        if n >= len(self.loaded):
            raise ContinualError(f"there is no adapter {n}: {len(self.loaded)} are loaded")
        method = self.loaded[n].method
        params: dict[str, Params] = {}
        if self.deltas and n == 0:
            params[WEIGHTS] = {name: tensor[0].detach().cpu().clone() for name, tensor in self.deltas.items()}
        for address, group in self._groups():
            if n in group.owners and address != SHARED:
                _put(params, address, group.part, group.take(group.owners.index(n)))
        for address, part, own in self.shared.settled(n, self.attentions):
            _put(params, address, part if isinstance(method, Bundled) else "", own)
        return Adapter(method.settled if isinstance(method, Spread | Bundled) else method, params)

    def slices(self) -> Iterator[tuple[nn.Parameter, tuple[int, ...]]]:
        """Each trainable parameter of a loaded adapter, and the member that owns each slot of its first axis."""
        return ((parameter, owners) for _, parameter, owners in self._trained())

    def trained(self, member: int) -> list[str]:
        """Of those of ``slices`` in which a member has a slot the names, as ``adapter.flatten`` gives them."""
        return [name for name, _, owners in self._trained() if member in owners]

    def forward(self, batch: Batch, noise_seed: Tensor | None = None) -> Tensor:
        """(U, T, d) last hidden states. ``noise_seed`` (U,) turns the adapters' dropout on, row by row."""
        return self.read(batch, noise_seed).tokens

    def under(self, batch: Batch) -> Tensor:
        """(U, T, d) the states that go into layer ``lowest``, as ``batch.below`` takes them."""
        whole = replace(batch, below=None)
        with torch.no_grad():
            return self.claim.layers(self.encoder, self.arch).before(self.lowest, lambda: self.read(whole))

    def read(self, batch: Batch, noise_seed: Tensor | None = None) -> States:
        """Last hidden states, and what the encoder's pooling makes of them."""
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
            again = self.claim.recomputes and torch.is_grad_enabled()  # the backward pass comes through once more
            if not again:
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

    def describe(self) -> str:
        """One line per site that holds something: address, methods, shapes."""
        lines = []
        for address, group in self._groups():
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in group.stack.items())
            lines.append(f"{address}: {type(group.method).__name__} for members {group.owners}: {shapes}")
        return "\n".join(lines) or "no adapter loaded"

    @property
    def _prompt(self) -> PromptSite | None:
        """The site of prompts, where any is loaded."""
        return next((site for site in self._prompts if site.stacks), None)

    def _holders(self) -> Iterator[tuple[str, Holder]]:
        for address, site in self.sites.items():
            assert isinstance(site, Holder)
            yield address, site
        yield SHARED, self.shared

    def _groups(self) -> Iterator[tuple[str, Group]]:
        for address, site in self._holders():
            for group in site.stacks:
                yield address, group

    def _trained(self) -> Iterator[tuple[str, nn.Parameter, tuple[int, ...]]]:
        for address, group in self._groups():
            begin = f"{address}/{group.part}." if group.part else f"{address}/"
            for name, parameter in group.stack.items():
                if parameter.requires_grad:
                    yield begin + name, parameter, group.owners
        for name, parameter in self.deltas.items():
            if parameter.requires_grad:
                yield f"{WEIGHTS}/{name}", parameter, (0,)

    def _changed(self) -> dict[str, Tensor]:
        method = self.loaded[0].method
        assert isinstance(method, WeightMethod)
        return method.changed({name: tensor[0] for name, tensor in self.deltas.items()}, self.weights)


def _put(params: dict[str, Params], address: str, part: str, own: Params) -> None:
    prefix = f"{part}." if part else ""
    params.setdefault(address, {}).update({f"{prefix}{name}": tensor for name, tensor in own.items()})
