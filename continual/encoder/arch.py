"""Where the sites of each encoder family are: the only table of module names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Place:
    """A site in a layer: ``path`` is that of its module below the layer.

    how    "add": the module's y becomes y + delta · "norm": LN(x) becomes LN(x + delta(LN(x))) · "input": the module's
           x becomes x + delta · "attention": keys and values are put before the module's own
    reads  the module whose input is the method's x, where that is not the site's own (parallel adapters; attentions,
           whose input comes under another name in each family)
    only   the module whose input the site's own must be: other calls are left alone (DeBERTa projects relative
           positions through the same weights as words)
    part   (i, n): of a fused projection's output only the i-th of n equal parts is the site's y
    """

    path: str
    how: Literal["add", "norm", "input", "attention"] = "add"
    reads: str = ""
    only: str = ""
    part: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Arch:
    """One family of encoders.

    layers   path of its list of layers; ``*`` stands for every element of a list
    sites    where in a layer each named site is
    absent   sites that the family cannot have, and why
    embeds   whether it takes embeddings in place of token ids: then prompts can stand before them
    image    it reads pixels, not tokens
    first    its first token stands for the whole; not where there is none for that, or it sees no other (CLIP's text)
    pooler   whether its models bring a pooled state of their own
    offset   positions start so far behind the padding index (RoBERTa and its kin)
    """

    layers: str
    sites: Mapping[str, Place]
    absent: Mapping[str, str] = field(default_factory=dict)
    embeds: bool = True
    image: bool = False
    first: bool = True
    pooler: bool = True
    offset: int = 0


def _sites(
    attention: str, query: str, key: str, value: str, attn_out: str, ffn_in: str, ffn_out: str, norms: tuple[str, str]
) -> dict[str, Place]:
    """The sites of a layer whose projections are linears of their own.

    Sites on one module act in this order, each on what the one before it left: a norm is computed anew with its delta,
    so what is added after it comes later.
    """
    return {
        "query": Place(query),
        "key": Place(key),
        "value": Place(value),
        "attention": Place(attention, "attention", reads=query),
        "attn_act": Place(attn_out, "input"),
        "attn_out": Place(attn_out),
        "attn_parallel": Place(attn_out, reads=value),  # DeBERTa calls the others on positions too
        "attn_norm": Place(norms[0], "norm"),
        "attn_post": Place(norms[0]),
        "ffn_in": Place(ffn_in),
        "ffn_act": Place(ffn_out, "input"),
        "ffn_out": Place(ffn_out),
        "ffn_parallel": Place(ffn_out, reads=ffn_in),
        "ffn_norm": Place(norms[1], "norm"),
        "ffn_post": Place(norms[1]),
    }


def _pre_norm(sites: dict[str, Place]) -> dict[str, Place]:
    """Where the norm stands before its block, an adapter after the block's sum is one on the block's output."""
    return {**sites, "attn_norm": sites["attn_out"], "ffn_norm": sites["ffn_out"]}


_NO_PREFIX = {"attention": "its attention does not go through transformers' attention interface"}

_BERT = Arch(
    layers="encoder.layer",
    sites=_sites(
        "attention.self", "attention.self.query", "attention.self.key", "attention.self.value",
        "attention.output.dense", "intermediate.dense", "output.dense",
        ("attention.output.LayerNorm", "output.LayerNorm"),
    ),
)  # fmt: skip

_ROBERTA = replace(_BERT, offset=1)

_DISTILBERT = Arch(
    layers="transformer.layer",
    sites=_sites(
        "attention", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1",
        "ffn.lin2", ("sa_layer_norm", "output_layer_norm"),
    ),
    pooler=False,
)  # fmt: skip

# ALBERT repeats one layer: a module there acts in each repetition, as its weights do.
_ALBERT = Arch(
    layers="encoder.albert_layer_groups.*.albert_layers",
    sites=_sites(
        "attention", "attention.query", "attention.key", "attention.value", "attention.dense", "ffn", "ffn_output",
        ("attention.LayerNorm", "full_layer_layer_norm"),
    ),
)  # fmt: skip

_DEBERTA_SITES = _sites(
    "attention.self", "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj",
    "attention.output.dense", "intermediate.dense", "output.dense", ("attention.output.LayerNorm", "output.LayerNorm"),
)  # fmt: skip
_WORDS = {name: replace(_DEBERTA_SITES[name], only="attention.self") for name in ("query", "key")}
_DEBERTA = Arch(layers="encoder.layer", sites={**_DEBERTA_SITES, **_WORDS}, absent=_NO_PREFIX, pooler=False)

_MPNET = Arch(
    layers="encoder.layer",
    sites=_sites(
        "attention.attn", "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
        "intermediate.dense", "output.dense", ("attention.LayerNorm", "output.LayerNorm"),
    ),
    absent=_NO_PREFIX,
    offset=1,
)  # fmt: skip

_MODERNBERT = Arch(
    layers="layers",
    sites={
        **_pre_norm(
            _sites(
                "attn", "attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo", ("attn_norm", "mlp_norm")
            )
        ),
        "query": Place("attn.Wqkv", part=(0, 3)),
        "key": Place("attn.Wqkv", part=(1, 3)),
        "value": Place("attn.Wqkv", part=(2, 3)),
    },
    pooler=False,
)  # fmt: skip

_CLIP_SITES = _pre_norm(
    _sites(
        "self_attn", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1",
        "mlp.fc2", ("layer_norm1", "layer_norm2"),
    )
)  # fmt: skip
_CLIP_TEXT = Arch(layers="encoder.layers", sites=_CLIP_SITES, embeds=False, first=False)
_CLIP_VISION = Arch(layers="encoder.layers", sites=_CLIP_SITES, embeds=False, image=True)

# SigLIP's text pooler reads the last position, padding or not: here a text must not depend on its batch mates.
_SIGLIP_TEXT = replace(_CLIP_TEXT, pooler=False)
_SIGLIP_VISION = replace(_CLIP_VISION, first=False)

_VIT = Arch(
    layers="layers",
    sites=_pre_norm(
        _sites(
            "attention", "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "mlp.fc1",
            "mlp.fc2", ("layernorm_before", "layernorm_after"),
        )
    ),
    embeds=False,
    image=True,
)  # fmt: skip
_VIT_OLD = replace(
    _VIT,
    layers="encoder.layer",
    sites=_pre_norm(
        _sites(
            "attention.attention", "attention.attention.query", "attention.attention.key", "attention.attention.value",
            "attention.output.dense", "intermediate.dense", "output.dense", ("layernorm_before", "layernorm_after"),
        )
    ),
)  # fmt: skip

_DINOV2 = Arch(
    layers="encoder.layer",
    sites=_pre_norm(
        _sites(
            "attention", "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "mlp.fc1",
            "mlp.fc2", ("norm1", "norm2"),
        )
    ),
    embeds=False,
    image=True,
)  # fmt: skip
_DINOV2_OLD = replace(
    _DINOV2,
    sites=_pre_norm(
        _sites(
            "attention.attention", "attention.attention.query", "attention.attention.key", "attention.attention.value",
            "attention.output.dense", "mlp.fc1", "mlp.fc2", ("norm1", "norm2"),
        )
    ),
)  # fmt: skip


def _inside(tower: str, arch: Arch) -> Arch:
    return replace(arch, layers=f"{tower}.{arch.layers}")


# Several rows for one family: transformers renamed its modules on the way; the first that fits the model is meant.
ARCHS: dict[str, tuple[Arch, ...]] = {
    "bert": (_BERT,),
    "roberta": (_ROBERTA,),
    "xlm-roberta": (_ROBERTA,),
    "camembert": (_ROBERTA,),
    "distilbert": (_DISTILBERT,),
    "electra": (replace(_BERT, pooler=False),),
    "albert": (_ALBERT,),
    "deberta-v2": (_DEBERTA,),
    "mpnet": (_MPNET,),
    "modernbert": (_MODERNBERT,),
    "vit": (_VIT, _VIT_OLD),
    "dinov2": (_DINOV2, _DINOV2_OLD),
    "clip_text_model": (_CLIP_TEXT, _inside("text_model", _CLIP_TEXT)),
    "clip_vision_model": (_CLIP_VISION, _inside("vision_model", _CLIP_VISION)),
    "siglip_text_model": (_SIGLIP_TEXT, _inside("text_model", _SIGLIP_TEXT)),
    "siglip_vision_model": (_SIGLIP_VISION, _inside("vision_model", _SIGLIP_VISION)),
}

TOWERS = {"clip": "clip", "siglip": "siglip"}
"""Families of two encoders, of which one is chosen: model type -> beginning of its towers' model types."""
