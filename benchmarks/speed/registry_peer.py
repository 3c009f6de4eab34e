"""Many modules in ``peft`` or in AdapterHub's library: a process that computes when it is asked.

    python registry_peer.py SETTING     SETTING: JSON, see ``Setting``; the questions that it answers: ``Many``

What a user calls there: ``add_adapter``, ``set_adapter`` or ``set_active_adapters``, ``load_adapter``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import paths  # noqa: F401
import torch
import transformers
from plain import Plain, texts
from safetensors.torch import load_file, save_file
from served import Line, seconds, serve
from theirs import fill, quiet
from torch import Tensor
from transformers import BertModel

MORE = "more"
SWITCHES = 10


class Setting(TypedDict):
    """library: peft or adapters · kind: lora or bottleneck · folder: has encoder/ and <library>-weights"""

    library: str
    kind: str
    folder: str
    count: int
    tokens: int
    threads: int
    cuda: bool


class Peft:
    def __init__(self, kind: str) -> None:
        import peft

        arguments = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["query", "value"]}
        self.peft, self.config = peft, peft.LoraConfig(task_type="FEATURE_EXTRACTION", **arguments)
        self.versions = {"peft": peft.__version__}

    def add(self, model: Any, name: str) -> Any:
        if not isinstance(model, self.peft.PeftModel):
            return self.peft.get_peft_model(model, self.config, adapter_name=name).eval()
        model.add_adapter(name, self.config)
        return model

    def activate(self, model: Any, name: str) -> None:
        model.set_adapter(name)

    def save(self, model: Any, name: str, folder: Path) -> Path:
        model.save_pretrained(str(folder), selected_adapters=[name])
        return folder / name

    def load(self, model: Any, folder: Path, name: str) -> None:
        model.load_adapter(str(folder), adapter_name=name)


class Adapters:
    def __init__(self, kind: str) -> None:
        import adapters

        bottleneck = "seq_bn[reduction_factor=16,non_linearity='relu']"
        self.adapters, self.config = adapters, "lora[r=8,alpha=16]" if kind == "lora" else bottleneck
        self.versions = {"adapters": adapters.__version__}

    def add(self, model: Any, name: str) -> Any:
        self.adapters.init(model)
        model.add_adapter(name, config=self.config)
        return model

    def activate(self, model: Any, name: str) -> None:
        model.set_active_adapters(name)

    def save(self, model: Any, name: str, folder: Path) -> Path:
        model.save_adapter(str(folder), name)
        return folder

    def load(self, model: Any, folder: Path, name: str) -> None:
        model.load_adapter(str(folder), load_as=name)


LIBRARIES = {"peft": Peft, "adapters": Adapters}


class Many:
    def __init__(self, said: Setting) -> None:
        self.said, self.library = said, LIBRARIES[said["library"]](said["kind"])
        self.model: Any = None
        self.folder, self.now = Path(said["folder"]), 0

    def add(self) -> float:
        """Seconds to add them all to a loaded encoder; their tensors are then those of the other sides."""
        model = BertModel.from_pretrained(self.folder / "encoder", add_pooling_layer=False).eval()
        started = time.perf_counter()
        for number in range(self.said["count"]):
            model = self.library.add(model, f"m{number}")
        taken = time.perf_counter() - started
        fill(model, load_file(self.folder / f"{self.said['library']}-weights"))
        self.model = model.eval()
        self.saved = self.library.save(model, f"m{self.said['count'] - 1}", self.folder / self.said["library"])
        return taken

    def switch(self) -> float:
        """Of one of several, each to another module."""
        started = time.perf_counter()
        for _ in range(SWITCHES):
            self.now = (self.now + 37) % self.said["count"]
            self.library.activate(self.model, f"m{self.now}")
        return (time.perf_counter() - started) / SWITCHES

    def load(self) -> float:
        started = time.perf_counter()
        self.library.load(self.model, self.saved, MORE)
        taken = time.perf_counter() - started
        self.library.activate(self.model, "m0")
        self.model.delete_adapter(MORE)
        return taken

    def forward(self, times: str) -> float:
        self.switch()
        return seconds(self.pooled, int(times), torch.device("cpu"), False)

    def answer(self, number: str, path: str) -> None:
        self.library.activate(self.model, f"m{number}")
        self.write(path)

    def answer_loaded(self, path: str) -> None:
        self.library.load(self.model, self.saved, MORE)
        self.library.activate(self.model, MORE)
        self.write(path)
        self.library.activate(self.model, "m0")
        self.model.delete_adapter(MORE)

    @torch.no_grad()
    def write(self, path: str) -> None:
        save_file({"pooled": self.pooled()}, path)

    def pooled(self) -> Tensor:
        config = self.model.config
        batch = texts(config.vocab_size, 1, self.said["tokens"])
        return Plain.pooled(_Asked(self.model.eval(), *batch[:2]))  # type: ignore[arg-type]


class _Asked:
    """What ``Plain.pooled`` reads: a model without a head, which is not trained."""

    def __init__(self, model: Any, ids: Tensor, mask: Tensor) -> None:
        self.model, self.ids, self.mask = model, ids, mask


def main() -> None:
    quiet()
    said: Setting = json.loads(sys.argv[1])
    line = Line()
    torch.set_num_threads(said["threads"])
    many = Many(said)
    names = ("add", "switch", "load", "forward", "answer", "answer_loaded")
    questions: dict[str, Callable[..., Any]] = {name: getattr(many, name) for name in names}
    ours = said["library"] == "peft"  # which is in our environment
    facts = {} if ours else {one.__name__: one.__version__ for one in (transformers, torch)}
    serve(line, questions, {**many.library.versions, **facts})


if __name__ == "__main__":
    main()
