"""An encoder with a site wherever one can be, and what is loaded into the sites: put in, mixed, and taken out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from continual.adapter import EMBEDDING, SHARED, WEIGHTS, Adapter, Params
from continual.encoder.attention import AttentionSite, SharedSite, attend
from continual.encoder.claim import claim
from continual.encoder.fit import require_room, require_weights
from continual.encoder.frozen import Encoder
from continual.encoder.group import Group
from continual.encoder.prompt import PromptSite
from continual.encoder.site import Holder, Route, Site
from continual.encoder.survey import places
from continual.errors import ContinualError
from continual.method.base import Bundled, Spread, WeightMethod
from continual.types import Shape


class Rack(nn.Module):
    """The sites of a frozen encoder, and the adapters in them.

    All hooks are attached here, once: a hook added after the first compiled call would silently be ignored. What
    changes later are the sites' contents (``load``, ``add``, ``mix``). The encoder's own modules, parameters and state
    dict stay as Hugging Face made them.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if getattr(encoder.model.config, "chunk_size_feed_forward", 0):
            raise ContinualError("chunk_size_feed_forward must be 0: gates average over all tokens of a text at once")
        self.arch, self.pooling, self.segments = encoder.arch, encoder.pooling, encoder.segments
        self.max_length, self.positions = encoder.max_length, encoder.positions
        self.tokenizer = encoder.tokenizer
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
        self.deltas = nn.ParameterDict()  # a weight method's tensors, slot 0 of a stack of one
        self.loaded: tuple[Adapter, ...] = ()

    @property
    def shapes(self) -> dict[str, Shape]:
        return {address: site.shape for address, site in self._holders() if address != SHARED}

    @property
    def weights(self) -> dict[str, Tensor]:
        return dict(self.encoder.named_parameters())

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
        self._place(device)

    def add(self, adapter: Adapter) -> int:
        """Load one more beside those that are, which are all frozen then; its number among them.

        It takes a free slot of each stack; where there is none, all are loaded anew. Raises what ``load`` raises, and
        ContinualError under a mixer, which is over the adapters that it was made for.
        """
        if self.mixed:
            raise ContinualError("a mixer is over the adapters that it was made for: load all again, and mix them anew")
        before, device = self.loaded, next(self.encoder.parameters()).device
        prompted = (
            self._prompt is not None or EMBEDDING in adapter.params
        )  # how much room they leave is to be looked at
        changes = bool(self.deltas) or isinstance(adapter.method, WeightMethod)
        try:
            if prompted or changes or not self._added(adapter):
                self.load([*before, adapter])
        except ContinualError:
            self.load(before)
            raise
        self.loaded = (*before, adapter)
        self._place(device)
        return len(before)

    def _place(self, device: torch.device) -> None:
        """What is loaded goes to where the encoder is; to walk through the encoder for it would take longer."""
        for _, site in self._holders():
            if site.stacks:
                site.groups.to(device)
        self.deltas.to(device)

    def _added(self, adapter: Adapter) -> bool:
        """Whether every site had a place for it."""
        known = adapter.params.keys() <= self._known
        return known and all(site.add(len(self.loaded), adapter) for _, site in self._holders())

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
        """A detached copy of the n-th loaded adapter, as it is now, and as it is stored.

        Raises ContinualError where fewer are loaded.
        """
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


def _put(params: dict[str, Params], address: str, part: str, own: Params) -> None:
    prefix = f"{part}." if part else ""
    params.setdefault(address, {}).update({f"{prefix}{name}": tensor for name, tensor in own.items()})
