"""A finished run's record turned back into the parts that it was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from continual import build
from continual.errors import ContinualError
from continual.parts import Parts, code_digest
from continual.report.record import Record
from continual.report.scan import one
from continual.typed import tuples

SILENT = {"_target_": "continual.logs.none.Nothing"}
HERE: dict[str, Any] = {"devices": 1, "cache_folder": None}
"""Of ``trainer``: in the place of what another machine may not have."""


def reopen(folder: Path, store: Path | None = None) -> Parts:
    """Of the run in ``folder``, as it was; without its loggers, on one device. Of a run of GPUs that is the CPU where
    there is none, with a warning: what is computed there is the same up to rounding.

    store  where its modules are now; None: where the record says

    Raises ContinualError for a folder without a record, and as ``rebuilt``; also where the package's source is not
    what it was.
    """
    record, folder = one(folder), Path(folder).resolve()
    if folder.name != record.id:
        raise ContinualError(f"{folder} holds run {record.id}; a run's folder has its name: expected …/{record.id}")
    _configuration(record)  # a run that was made in Python is said to be that, whatever the source
    if record.config["choices"]["code"] != code_digest():
        raise _another(record, ["code"])
    paths = {"runs": str(folder.parent)} | ({} if store is None else {"store": str(store)})
    lacking = _asks_for_a_gpu(record) and not torch.cuda.is_available()
    parts = rebuilt(record, {"paths": paths, "trainer": HERE | ({"accelerator": "cpu"} if lacking else {})})
    if lacking:
        parts.progress.warn(
            f"run {record.id} was made on a GPU, and torch finds none: the CPU answers what is new, up to rounding"
        )
    return parts


def _asks_for_a_gpu(record: Record) -> bool:
    return _mapping(record, record.config, "trainer").get("accelerator") in ("gpu", "cuda")


def rebuilt(record: Record, changes: Mapping[str, Mapping[str, Any]]) -> Parts:
    """From the configuration in a record; without its loggers, and by whatever source of the package is here.

    changes  {group: {key: value}} that stand in the place of the record's, for no result depends on them: where
             things lie, and what computes

    Raises ContinualError for a run that was made in Python and so has no configuration, for a configuration that is
    none of this version, and where anything else that the result depends on (encoder, stream, …) is not what it was.
    """
    config = _configuration(record)
    given = {group: {**_mapping(record, config, group), **values} for group, values in changes.items()}
    if lacking := [key for key in (*build.KINDS, *build.GROUPS) if key not in config]:
        raise _malformed(record, f"no {', '.join(lacking)}")
    parts = build.of(tuples({**config, **given, "logger": SILENT}))
    now, then = json.loads(json.dumps(parts.choices)), record.config["choices"]
    if other := [key for key in now if key != "code" and now[key] != then.get(key)]:
        raise _another(record, other)
    return parts


def _configuration(record: Record) -> dict[str, Any]:
    """Without the choices that followed from it."""
    _mapping(record, record.config, "choices")
    if "stream" not in record.config:
        raise ContinualError(
            f"run {record.id} was made in Python and has no configuration to build it from; give its parts to the "
            "function of the command's name, with the same encoder and stream"
        )
    return {key: value for key, value in record.config.items() if key != "choices"}


def _mapping(record: Record, config: Mapping[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(found := config.get(key), dict):
        raise _malformed(record, f"no {key}" if key not in config else f"{found!r:.60} for {key}")
    return found


def _malformed(record: Record, what: str) -> ContinualError:
    return ContinualError(
        f"run {record.id} has {what} in its configuration: it is of another version of the package, or was edited; "
        "make the run again"
    )


def _another(record: Record, keys: list[str]) -> ContinualError:
    words = {"code": "source of the package", "reading": "configuration or tokenizer of the encoder"}
    what = ", ".join(words.get(key, key) for key in keys)
    return ContinualError(
        f"run {record.id} was made with another {what}; restore it, or make the run again with what there is now"
    )
