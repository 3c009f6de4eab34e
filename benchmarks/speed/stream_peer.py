"""A stream of tasks, one after another, by the trainer of ``peft``'s users or of AdapterHub's library.

    python stream_peer.py SETTING     SETTING: JSON, see ``Setting``

Both have the head of ours, a linear layer on the mean over tokens, so that they learn the same thing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import paths  # noqa: F401
import torch
import torch.nn.functional as F
import transformers
from theirs import quiet
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    AutoTokenizer,
    BertModel,
    BertPreTrainedModel,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)
from transformers.modeling_outputs import SequenceClassifierOutput

BATCH = 64
WIDE = 256
"""Rows of an evaluation batch, as here; on a GPU they are more."""


class Setting(TypedDict):
    """folder: has encoder/ and packed.json, and gets answer.json · given: our batches, and bfloat16 products
    fuse: the task that all adapters are composed for at the end; "": none · fusion_lr: of that"""

    folder: str
    library: str
    given: bool
    seed: int
    lr: float
    factor: float
    epochs: int
    batch: int
    warmup: float
    decay: float
    clip: float
    tokens: int
    cuda: bool
    fuse: str
    fusion_lr: float


def answer(head: nn.Module, states: Tensor, mask: Tensor, labels: Tensor | None) -> SequenceClassifierOutput:
    weight = mask.to(states)[..., None]
    logits = head((states * weight).sum(1) / weight.sum(1))
    loss = None if labels is None else F.cross_entropy(logits, labels)
    return SequenceClassifierOutput(loss=loss, logits=logits)


class Classifier(BertPreTrainedModel):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, **rest: Any) -> Any:
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return answer(self.classifier, states, attention_mask, labels)


class Peft:
    """A fresh encoder a task: two adapters of one model would share its head's name."""

    trainer = Trainer

    def __init__(self, folder: str, said: Setting) -> None:
        import peft

        self.peft, self.folder, self.version = peft, folder, {"peft": peft.__version__}

    def model(self, task: str, labels: int) -> Any:
        arguments = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["query", "value"]}
        config = self.peft.LoraConfig(task_type="SEQ_CLS", **arguments)
        return self.peft.get_peft_model(Classifier.from_pretrained(self.folder, num_labels=labels), config)


class Adapters:
    """One encoder, and an adapter and a head a task."""

    def __init__(self, folder: str, said: Setting) -> None:
        import adapters
        from adapters.heads import PredictionHead

        class Mean(PredictionHead):
            def __init__(self, model: Any, head_name: str, num_labels: int, **_: Any) -> None:
                super().__init__(head_name)
                self.config = {"head_type": "mean", "num_labels": num_labels, "layers": 1, "dropout_prob": 0.0}
                self.build(model)

            def forward(self, outputs: Any, first: Any, attention_mask: Any, as_dict: bool, **rest: Any) -> Any:
                return answer(super().forward, outputs[0], attention_mask, rest.get("labels"))

        self.config = adapters.SeqBnConfig(reduction_factor=said["factor"], non_linearity="relu")
        self.shared = adapters.AutoAdapterModel.from_pretrained(folder)
        self.shared.register_custom_head("mean", Mean)
        self.trainer, self.version = adapters.AdapterTrainer, {"adapters": adapters.__version__}

    def model(self, task: str, labels: int) -> Any:
        self.shared.add_adapter(task, config=self.config)
        self.shared.add_custom_head("mean", task, num_labels=labels)
        self.shared.train_adapter(task)
        self.shared.active_head = task
        return self.shared

    def fused(self, names: Sequence[str], target: str) -> Any:
        """All adapters under a fusion for a task, whose head goes on from where it is, as here."""
        from adapters.composition import Fuse

        setup = Fuse(*names)
        self.shared.add_adapter_fusion(setup)
        self.shared.train_adapter_fusion(setup)
        self.shared.active_head = target
        return self.shared


class Epochs:
    """A batch sampler: the next epoch's batches each time that it is asked."""

    def __init__(self, epochs: Sequence[Sequence[Sequence[int]]]) -> None:
        self.epochs, self.now = epochs, 0

    def __len__(self) -> int:
        return len(self.epochs[0])

    def __iter__(self) -> Iterator[Sequence[int]]:
        self.now += 1
        return iter(self.epochs[self.now - 1])


def given(kind: type[Trainer], epochs: Sequence[Sequence[Sequence[int]]]) -> type[Trainer]:
    """The same trainer with these batches."""

    class Given(kind):  # type: ignore[misc, valid-type]
        def get_train_dataloader(self) -> DataLoader:
            return DataLoader(self.train_dataset, batch_sampler=Epochs(epochs), collate_fn=self.data_collator)

    return Given


def rows(tokenizer: Any, pairs: Sequence[tuple[str, int]], tokens: int) -> list[dict[str, Any]]:
    read = tokenizer([text for text, _ in pairs], truncation=True, max_length=tokens)
    return [{**{key: read[key][i] for key in read}, "labels": label} for i, (_, label) in enumerate(pairs)]


def arguments(said: Setting) -> TrainingArguments:
    warm = "warmup_ratio" if transformers.__version__ < "5" else "warmup_steps"
    warmup: dict[str, Any] = {warm: said["warmup"]}
    return TrainingArguments(
        output_dir=f"{said['folder']}/trainer",
        num_train_epochs=said["epochs"],
        per_device_train_batch_size=said["batch"],
        per_device_eval_batch_size=WIDE if said["cuda"] else BATCH,
        learning_rate=said["lr"],
        weight_decay=said["decay"],
        max_grad_norm=said["clip"],
        bf16=said["given"],
        seed=said["seed"],
        use_cpu=not said["cuda"],
        report_to="none",
        disable_tqdm=True,
        **warmup,
    )


def main() -> None:
    quiet()
    said: Setting = json.loads(sys.argv[1])
    torch.manual_seed(said["seed"])
    folder = f"{said['folder']}/encoder"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    library = {"peft": Peft, "adapters": Adapters}[said["library"]](folder, said)
    parts = {"learning": 0.0, "scoring": 0.0}
    accuracy, answered = {}, {}
    tasks = json.loads(Path(said["folder"], "packed.json").read_text(encoding="utf-8"))

    def learn(task: Any, model: Any, setting: Setting) -> float:
        """The accuracy that it has then."""
        started = time.perf_counter()
        train, test = (rows(tokenizer, task[split], said["tokens"]) for split in ("train", "test"))
        if said["given"]:
            test.sort(key=lambda row: -len(row["input_ids"]))
        kind = given(library.trainer, task["batches"]) if said["given"] else library.trainer
        collator = DataCollatorWithPadding(tokenizer)
        trainer = kind(model, arguments(setting), data_collator=collator, train_dataset=train)
        trainer.train()
        learned = time.perf_counter()
        found = trainer.predict(test)
        parts["learning"] += learned - started
        parts["scoring"] += time.perf_counter() - learned
        return float((found.predictions.argmax(-1) == found.label_ids).mean())

    for task in tasks:
        accuracy[task["name"]] = learn(task, library.model(task["name"], task["labels"]), said)
    if said["fuse"]:
        [target] = [task for task in tasks if task["name"] == said["fuse"]]
        model = library.fused([task["name"] for task in tasks], target["name"])  # type: ignore[union-attr]
        answered["fusion"] = learn(target, model, {**said, "lr": said["fusion_lr"]})
    versions = {**library.version, "transformers": transformers.__version__, "torch": torch.__version__}
    answered |= {"parts": parts, "accuracy": accuracy, "peer": versions}
    Path(said["folder"], "answer.json").write_text(json.dumps(answered), encoding="utf-8")


if __name__ == "__main__":
    main()
