"""A finished run's folder turned back into the parts that it was made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from continual import build
from continual.errors import ContinualError
from continual.parts import Parts, code_digest
from continual.report.record import Record, load
from continual.typed import tuples


def reopen(folder: Path, store: Path | None = None) -> Parts:
    """From the configuration in the run's record; without its loggers.

    store  where its modules are now; None: where the record says

    Raises ContinualError for a folder without a record, a run that was made in Python and so has no configuration, and
    where anything that its result depends on (encoder, stream, source of the package, …) is not what it was.
    """
    folder = Path(folder).resolve()
    record = _record(folder)
    config = {key: value for key, value in record.config.items() if key != "choices"}
    choices: dict[str, Any] = record.config["choices"]
    if "stream" not in config:
        raise ContinualError(
            f"run {record.id} was made in Python and has no configuration to build it from; give its parts to the "
            "function of the command's name, with the same encoder and stream"
        )
    if choices["code"] != code_digest():
        raise _another(record, ["code"])
    paths = {**config["paths"], "runs": str(folder.parent)} | ({} if store is None else {"store": str(store)})
    logger = {"_target_": "continual.logs.none.Nothing"}
    parts = build.of(tuples({**config, "paths": paths, "logger": logger}))
    now = json.loads(json.dumps(parts.choices))
    if other := [key for key in now if now[key] != choices.get(key)]:
        raise _another(record, other)
    return parts


def _record(folder: Path) -> Record:
    path = folder / "run.json"
    if not path.exists():
        begun = (folder / "ledger.jsonl").exists()
        why = "is not finished; the same continual run command goes on" if begun else "is no run: it has no run.json"
        raise ContinualError(f"{folder} {why}")
    record = load(path)
    if folder.name != record.id:
        raise ContinualError(f"{folder} holds run {record.id}; a run's folder has its name: expected …/{record.id}")
    return record


def _another(record: Record, keys: list[str]) -> ContinualError:
    words = {"code": "source of the package", "reading": "configuration or tokenizer of the encoder"}
    what = ", ".join(words.get(key, key) for key in keys)
    return ContinualError(
        f"run {record.id} was made with another {what}; restore it, or make the run again with what there is now"
    )
