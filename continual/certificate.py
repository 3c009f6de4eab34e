"""The isolation certificate: what a stage stored is, to the bit, what it was, and answers as it did, ever after.

``certificate.jsonl`` in the run's folder is only appended to: the encoder's tensors are entered before the first
training, each module when it is new, and both are compared with what is there after every later training of the stream
and at the end of the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from continual.adapter import flatten, tensors_digest
from continual.bank import HeadBank
from continual.encoder.frozen import weights_of
from continual.errors import CorruptError, IsolationError
from continual.files import append_line, canonical, read_lines, sha256
from continual.predict import to
from continual.recalled import recall
from continual.report.record import Certificate
from continual.session import Kept, Session
from continual.stream.base import Task
from continual.stream.units import collate

FILE = "certificate.jsonl"


def enter(session: Session) -> None:
    """Before the first training: the frozen encoder, as it was loaded. A run that goes on finds it entered."""
    if not any("encoder" in line for line in read_lines(session.folder / FILE)):
        append_line(session.folder / FILE, {"encoder": _weights(session)})


def certify(session: Session, index: int) -> None:
    """``prove`` after a task, if anything was learned since it was done last: of tasks that are learned together once,
    before the first of them is scored."""
    learned = _learned(session)
    if not any(line.get("learned", 0) >= learned for line in read_lines(session.folder / FILE)):
        prove(session, session.parts.stream.tasks[index].name)


def prove(session: Session, stage: str) -> None:
    """After a stage: compare the encoder and every module that was entered with what they are now; enter what is new.

    Of each module of the stream: the digest of each of its tensors and of its head's, as the store has them, and one
    of the logits, bit for bit, of ``evaluate.probe`` training rows of its task by it and its own head. On another
    device, number of threads or version of torch the last bits of logits are others: there the tensors are compared,
    and the logits are entered again.

    Raises IsolationError for the first difference: it names the task whose module it is, layer and parameter.
    """
    path = session.folder / FILE
    lines = read_lines(path)
    known = {(line["task"], canonical(line["on"])): line for line in lines if "task" in line}
    try:
        _encoder(session, lines)
        count = 0
        for index, task in enumerate(session.parts.stream.tasks):
            if (kept := session.good(index)) is not None:
                found = _entry(session, kept, task, lines)
                if (task.name, canonical(found["on"])) not in known:
                    append_line(path, found)
                elif found != known[task.name, canonical(found["on"])]:
                    raise IsolationError(f"the module of task {task.name!r} answers its {found['rows']} rows otherwise")
                count += 1
    except IsolationError as error:
        append_line(path, {"broken": stage, "why": str(error)})
        raise IsolationError(f"isolation is broken, found after {stage}: {error}") from error
    finally:
        session.model.load([])
    append_line(path, {"proven": stage, "modules": count, "learned": _learned(session)})


def summary(session: Session) -> Certificate | None:
    """What the record says of it."""
    lines = read_lines(session.folder / FILE)
    entered = [line for line in lines if "task" in line]
    proven = {line["proven"]: line["modules"] for line in lines if "proven" in line}
    if not proven:
        return None
    return Certificate(
        stages=len(proven),
        comparisons=sum(proven.values()) - len({line["task"] for line in entered}),
        rows=session.parts.evaluate.probe,
        digest=sha256(canonical(entered)),
    )


def _learned(session: Session) -> int:
    """Tasks of the stream that were learned so far, if with no success."""
    return sum(session.kept(f"learn/{index}") is not None for index in range(len(session.parts.stream.tasks)))


def _encoder(session: Session, lines: list[dict[str, Any]]) -> None:
    session.model.mix(None)
    session.model.load([])
    found = _weights(session)
    before = next(line["encoder"] for line in lines if "encoder" in line)
    if changed := _changed(before, found):
        raise IsolationError(f"the frozen encoder {session.parts.encoder.name} changed in {changed}")


def _entry(session: Session, kept: Kept, task: Task, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The line of a module as it is now. Raises IsolationError where the store's tensors are not those entered."""
    digest = kept.module.digest
    before = next((line for line in lines if line.get("task") == task.name), None)
    try:
        found = recall(session.store, digest, session.parts.encoder)
    except CorruptError as error:
        raise IsolationError(_damage(session, kept, task, before, error)) from error
    tensors = _named(flatten(found.adapters[0].params), found.head_params)
    if before is not None and (before["module"] != digest or before["tensors"] != tensors):
        changed = _changed(before["tensors"], tensors) or "its card"
        raise IsolationError(f"the module of task {task.name!r} ({kept.module.name}) changed in {changed}")
    rows = task.train[: session.parts.evaluate.probe]
    line = {"task": task.name, "module": digest, "tensors": tensors, "rows": len(rows), "on": _setting(session)}
    if rows and found.head is not None:
        found.install(session.model)
        data = session.reader(rows, found.head, found.card.labels)
        bank = HeadBank([(found.head, found.head_params)]).to(_device(session))
        with torch.no_grad():
            batch = to(collate(data, range(len(data))), _device(session))
            [answer] = bank(session.model.read(batch))
        line["logits"] = tensors_digest({"logits": answer.logits.float().cpu()})
    return line


def _damage(session: Session, kept: Kept, task: Task, before: dict[str, Any] | None, error: CorruptError) -> str:
    """Where the damage is, as far as the file can still be read."""
    found = _named(*session.store.unverified(kept.module.digest))
    where = _changed(before["tensors"], found) if before is not None and found else ""
    name = f"{kept.module.name}/{kept.module.version}"
    return f"the module of task {task.name!r} ({name}) changed{where and f' in {where}'}: {error}"


def _changed(before: Mapping[str, str], found: Mapping[str, str]) -> str:
    """The names that differ: "layer 1 (1/ffn_norm/down)"; of many the first three."""
    names = [name for name in {**before, **found} if before.get(name) != found.get(name)]
    shown = [f"layer {layer} ({name})" if (layer := _layer(name)) else name for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _layer(name: str) -> str:
    """Of "1/ffn_norm/down" and of "encoder.layer.1.output.dense.weight" the layer; empty where it is in none."""
    return next((part for part in name.replace("/", ".").split(".") if part.isdigit()), "")


def _named(tensors: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> dict[str, str]:
    return _digests(tensors) | _digests({f"head/{name}": tensor for name, tensor in head.items()})


def _digests(tensors: Mapping[str, Tensor], take: Callable[..., Iterable[str]] = map) -> dict[str, str]:
    """``take``: how they are gone through."""
    return dict(zip(tensors, take(lambda name: tensors_digest({name: tensors[name]}), tensors), strict=True))


def _weights(session: Session) -> dict[str, str]:
    """Of the frozen encoder; hashing its hundreds of megabytes needs no lock of Python's."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return _digests(weights_of(session.model.encoder), pool.map)


def _setting(session: Session) -> dict[str, Any]:
    device = _device(session)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def _device(session: Session) -> torch.device:
    return next(session.model.encoder.parameters()).device
