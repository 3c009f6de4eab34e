"""The frozen encoder with a site wherever one can be: adapters are loaded into it, mixed in it, and taken out of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from torch import Tensor, nn
from torch.func import functional_call

from continual.adapter import WEIGHTS, Adapter, Params, flatten
from continual.encoder import noise
from continual.encoder.arch import arch_of, layers_of
from continual.encoder.load import Encoder
from continual.encoder.site import Route, Site
from continual.errors import ContinualError
from continual.method.base import WeightMethod
from continual.types import Batch, Shape


class AdaptedEncoder(nn.Module):
    """Hidden states of a frozen encoder under one adapter, under one per row, or under a mix of several.

    All hooks are attached here, once: a hook added after the first compiled call would silently be ignored. What
    changes later are the sites' contents (``load``, ``mix``). The encoder's own modules, parameters and state dict
    stay as Hugging Face made them.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        config = encoder.model.config
        if getattr(config, "chunk_size_feed_forward", 0):
            raise ContinualError("chunk_size_feed_forward must be 0: gates average over all tokens of a text at once")
        self.encoder = encoder.model
        self.width = encoder.width
        self.route = Route()
        self.sites = nn.ModuleDict()
        self._hooks = []
        arch = arch_of(encoder.family)
        for number, layer in enumerate(layers_of(encoder.model, arch)):
            for name, place in arch.sites.items():
                module = layer.get_submodule(place.path)
                address = f"{number}/{name}"
                site = Site(address, place, _shape(module), self.route, len(self.sites))
                self._hooks.append(module.register_forward_hook(site))
                self.sites[address] = site
        self.deltas = nn.ParameterDict()  # a weight method's tensors, slot 0 of a stack of one
        self.loaded: tuple[Adapter, ...] = ()

    def release(self) -> None:
        """Take the hooks off the encoder for good: it may serve another run, which must not meet these adapters."""
        for hook in self._hooks:
            hook.remove()

    def train(self, mode: bool = True) -> AdaptedEncoder:
        """Adapters and mixers change mode; the encoder stays in evaluation mode: its own dropout is never used."""
        super().train(mode)
        self.encoder.eval()
        return self

    @property
    def shapes(self) -> dict[str, Shape]:
        return {address: site.shape for address, site in self._sites()}

    @property
    def weights(self) -> dict[str, Tensor]:
        return dict(self.encoder.named_parameters())

    def load(self, adapters: Sequence[Adapter], *, train: Collection[int] = ()) -> None:
        """Fill the sites with these adapters, replacing what was there; those whose index is in ``train`` learn.

        Raises ContinualError for an adapter made for other sites, and for a weight method beside other adapters.
        """
        known = {*self.sites, WEIGHTS}
        for adapter in adapters:
            if foreign := [address for address in adapter.params if address not in known]:
                raise ContinualError(f"the adapter has {foreign[:3]}; this encoder has: {', '.join(self.sites)}")
        whole = [i for i, adapter in enumerate(adapters) if isinstance(adapter.method, WeightMethod)]
        if whole and len(adapters) > 1:
            raise ContinualError("a method that changes the encoder's weights works alone: it can't be routed or mixed")
        device = next(self.encoder.parameters()).device
        for _, site in self._sites():
            site.load(adapters, lambda index: index in train)
        self.deltas = nn.ParameterDict()
        for index in whole:
            for name, tensor in adapters[index].params[WEIGHTS].items():
                self.deltas[name] = nn.Parameter(tensor.clone()[None], requires_grad=index in train)
        self.loaded = tuple(adapters)
        self.to(device)

    def mix(self, make: Callable[[Site], nn.Module] | None) -> None:
        """Give every site that holds adapters its own mixer, or take all mixers away."""
        for _, site in self._sites():
            # A mixer has the precision and the place of the adapters that it mixes.
            held = next(site.groups.parameters(), None)
            site.mixer = make(site).to(held) if make is not None and held is not None else None

    def mixers(self) -> dict[str, nn.Module]:
        return {address: site.mixer for address, site in self._sites() if site.mixer is not None}

    def take(self, n: int = 0) -> Adapter:
        """A detached copy of the n-th loaded adapter, as it is now."""
        if n >= len(self.loaded):
            raise ContinualError(f"there is no adapter {n}: {len(self.loaded)} are loaded")
        params: dict[str, Params] = {}
        if self.deltas and n == 0:
            params[WEIGHTS] = {name: tensor[0].detach().cpu().clone() for name, tensor in self.deltas.items()}
        for address, site in self._sites():
            for group in site.stacks:
                if n in group.owners:
                    params[address] = group.take(group.owners.index(n))
        return Adapter(self.loaded[n].method, params)

    def slices(self) -> Iterator[tuple[nn.Parameter, tuple[int, ...]]]:
        """Each trainable parameter of a loaded adapter, and the member that owns each slot of its first axis."""
        for _, site in self._sites():
            for group in site.stacks:
                for parameter in group.stack.values():
                    if parameter.requires_grad:
                        yield parameter, group.owners
        for parameter in self.deltas.values():
            if parameter.requires_grad:
                yield parameter, (0,)

    def forward(self, batch: Batch, noise_seed: Tensor | None = None) -> Tensor:
        """(B, T, d) last hidden states. ``noise_seed`` (B,) turns the adapters' dropout on, row by row."""
        mixed = any(site.mixer is not None for _, site in self._sites())
        if len(self.loaded) > 1 and batch.member is None and not mixed:
            raise ContinualError(
                f"{len(self.loaded)} adapters are loaded: give batch.member (one per row), or mix them"
            )
        self.route.mask, self.route.member = batch.mask, None if mixed or len(self.loaded) < 2 else batch.member
        if noise_seed is not None and batch.step is not None:
            self.route.noise = noise.keys(noise_seed, batch.step, batch.row)
        try:
            call = self.encoder
            if len(self.deltas):
                call = partial(functional_call, self.encoder, self._changed())
                return call((), {"input_ids": batch.ids, "attention_mask": batch.mask}).last_hidden_state
            return call(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        finally:
            self.route.mask = self.route.member = self.route.noise = None

    def describe(self) -> str:
        """One line per site that holds something: address, placement, methods, shapes."""
        lines = []
        for address, site in self._sites():
            for group in site.stacks:
                shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in group.stack.items())
                kind = type(group.method).__name__
                lines.append(f"{address} ({site.place.how}): {kind} for members {group.owners}: {shapes}")
        return "\n".join(lines) or "no adapter loaded"

    def _sites(self) -> Iterator[tuple[str, Site]]:
        for address, site in self.sites.items():
            assert isinstance(site, Site)
            yield address, site

    def _changed(self) -> dict[str, Tensor]:
        method = self.loaded[0].method
        assert isinstance(method, WeightMethod)
        changes = method.weights({name: tensor[0] for name, tensor in self.deltas.items()})
        weights = self.weights
        return {name: weights[name] + change for name, change in changes.items()}


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, d), (B, T) -> (B, d): the mean over the tokens that are not padding."""
    weight = mask.to(states)[..., None]
    return (states * weight).sum(1) / weight.sum(1).clamp_min(1.0)


def first_pool(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, d) -> (B, d): the state of the first token ([CLS])."""
    return states[:, 0]


POOLS = {"mean": mean_pool, "cls": first_pool}


def mixer_params(model: AdaptedEncoder) -> dict[str, Tensor]:
    """What the mixers learned, under the keys in which a store keeps it."""
    return flatten(
        {
            address: {name: tensor.detach().cpu().clone() for name, tensor in mixer.state_dict().items()}
            for address, mixer in model.mixers().items()
        }
    )


def _shape(module: nn.Module) -> Shape:
    if isinstance(module, nn.LayerNorm):
        return Shape(module.normalized_shape[0], module.normalized_shape[0])
    return Shape(int(module.in_features), int(module.out_features))  # type: ignore[arg-type]
