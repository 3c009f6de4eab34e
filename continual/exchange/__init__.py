"""Modules of other libraries as ours, ours as theirs, and ours at other places."""

from __future__ import annotations

from pathlib import Path

from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.exchange import adapterhub, peft
from continual.exchange.source import Imported, read_json


def read(folder: Path | str, model: AdaptedEncoder) -> Imported:
    """The module in a folder of ``peft`` or of AdapterHub's ``adapters``, whichever wrote it.

    Raises ContinualError for a folder of neither, and for a module that we cannot compute, naming what stands against.
    """
    folder = Path(folder)
    config = read_json(folder / "adapter_config.json")
    if "peft_type" in config:
        return peft.read(folder, model)
    if isinstance(config.get("config"), dict):
        return adapterhub.read(folder, model)
    raise ContinualError(
        f"{folder / 'adapter_config.json'}: expected that of peft (with a peft_type) or of adapters (with a config)"
    )
