"""One Lightning Trainer per request: the group's steps as a data loader, and nothing on disk but the logger's."""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.loggers import Logger
from torch.utils.data import DataLoader

from continual.choose import chosen
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, unknown
from continual.lanes import Lanes, fitting
from continual.learner import Learner
from continual.progress import Progress
from continual.request import Learn, Learned
from continual.steps import Steps
from continual.trunk import Trunk

ACCELERATORS = ("cpu", "gpu", "cuda", "auto")
PRECISIONS = ("32-true", "bf16-mixed")
AHEAD = 32
"""Modules that a run asks for at once of a GPU."""


@dataclass(frozen=True)
class Machine:
    """Where and how it runs; what is learned does not depend on it, beyond rounding.

    accelerator  cpu, gpu (or cuda), or auto: a GPU where there is one
    devices      GPUs over which the modules that are learned at once are dealt (``dealt.py``). What must be learned
                 alone, and all that is not training, stays on the first
    precision    32-true, or bf16-mixed: the frozen encoder reads in bfloat16, in training and in evaluation; modules,
                 their gradients and steps, heads and losses are float32. On a CPU it pays where the processor has
                 such products (AVX512-BF16, AMX)
    group        how many modules a device trains at once, where they are independent of each other: a number, or
                 "auto", as many as fit into the memory of a GPU, one at a time on a CPU, where nothing is won by it
    graphs       on a GPU a step whose work does not depend on its numbers is captured as a CUDA graph, one for each
                 shape of batch, and replayed: Python is off its path. Batches are filled up to few shapes
    cache        bytes, on each device, for what layers below all modules make of the training rows, where more than one
                 epoch reads it: these layers are then run once (``trunk.py``); 0: they are run in every step
    cache_folder where that lies, in a file mapped into memory; None: in the memory of the device
    gradient_checkpointing  activations are computed again in the backward pass, not kept: less memory, more time. On a
                 CPU ``continual run`` hands each large tensor back when it is gone, too (``allocator.return_memory``)
    """

    accelerator: str = "cpu"
    devices: int = 1
    precision: str = "32-true"
    gradient_checkpointing: bool = False
    group: int | str = "auto"
    graphs: bool = True
    cache: int = 2**30
    cache_folder: str | None = None
    log_every: int = 10
    loggers: tuple[Logger, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise unknown("trainer.accelerator", self.accelerator, ACCELERATORS)
        if self.precision not in PRECISIONS:
            raise unknown("trainer.precision", self.precision, PRECISIONS)
        if self.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
            raise ContinualError(f"trainer.accelerator={self.accelerator}: torch finds no GPU; use trainer=cpu")
        self._require_devices()
        if self.group != "auto" and (not isinstance(self.group, int) or self.group < 1):
            raise ContinualError(f"trainer.group must be auto, or at least 1, got {self.group}")
        if self.cache < 0:
            raise ContinualError(f"trainer.cache must be 0 or more bytes, got {self.cache}")
        if self.cache_folder is not None and not Path(self.cache_folder).is_dir():
            raise ContinualError(
                f"trainer.cache_folder must be a folder that is there, got {self.cache_folder}; make it, or set it to "
                "null: what is kept then lies in memory"
            )
        if self.log_every < 1:
            raise ContinualError(f"trainer.log_every must be at least 1, got {self.log_every}")

    def _require_devices(self) -> None:
        if self.devices < 1:
            raise ContinualError(f"trainer.devices must be at least 1, got {self.devices}")
        if self.devices > 1 and device_of(self).type == "cpu":
            raise ContinualError(
                f"trainer.devices must be 1 on a CPU, got {self.devices}: all its cores work for one training; "
                "set it to 1, or choose trainer=gpu"
            )
        if self.devices > 1 and self.devices > (there := torch.cuda.device_count()):
            raise ContinualError(
                f"trainer.devices must be at most {there}, got {self.devices}: torch finds no more GPUs; lower it, or "
                "let CUDA_VISIBLE_DEVICES name more"
            )

    @property
    def ahead(self) -> int:
        """How many modules a run asks for at once, so that some wait for the place of those that are done.

        They are stored when all are learned: so much work a run can lose that is killed.
        """
        if self.group == "auto":
            return 1 if device_of(self).type == "cpu" else AHEAD * self.devices
        return self.devices * (1 if self.group == 1 else 4 * int(self.group))

    def trunk(self) -> Trunk:
        return Trunk(self.cache, None if self.cache_folder is None else Path(self.cache_folder))


def learn(
    model: AdaptedEncoder,
    requests: Sequence[Learn],
    machine: Machine,
    progress: Progress,
    trunk: Trunk | None = None,
    watching: Sequence[pl.Callback] = (),
) -> list[Learned]:
    """Train the requests together on the current device and answer each.

    What the trunk keeps serves the next call too. ``watching`` are callbacks beside the progress.
    """
    start = time.perf_counter()
    placed(model, machine)
    learner = Learner(model, [chosen(model, request) for request in requests])
    placed(model, machine)
    pooled = learner.features()
    trunk = None if pooled is not None else trunk or machine.trunk()
    count = fitting(model, learner.members) if machine.group == "auto" else int(machine.group)
    below = None if trunk is None else learner.below(trunk)
    learner.even = captures(machine) and learner.steady
    steps = Steps(Lanes(learner.members, count), pooled, below, learner.even)
    loader = DataLoader(steps, batch_size=None, shuffle=False, num_workers=0)
    learner.log_every = min(machine.log_every, len(loader))
    learner.train()  # Lightning leaves it in the mode that it has
    with unwarned(), _interruptible():
        _trainer(machine, [progress, *watching], learner.log_every).fit(learner, loader)
    learner.to(device_of(machine)).eval()  # Lightning takes a model off the device when it is done
    return learner.results((time.perf_counter() - start) / len(requests))


@contextmanager
def unwarned() -> Iterator[None]:
    """Without Lightning's advice. Filters are a process's: who trains in several threads is within this in all.

    Advice about worker processes and missing validation loops does not apply: batches are made in microseconds. Nor
    does "GPU available but not used": who says trainer=cpu means it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        unasked = "num_workers|GPU available but not used|isinstance\\(treespec|LeafSpec"
        warnings.filterwarnings("ignore", message=f".*({unasked}).*")
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays a KeyboardInterrupt: Lightning would end the process, a notebook's too, and ignore the next one."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


class _Neighbour(CUDAAccelerator):
    """Of one training beside others. Lightning's own frees, when a training begins and ends, what cuBLAS works in and
    what is cached, on all devices: memory that graphs of the others write to. ``free`` does it when all have ended."""

    def setup(self, trainer: pl.Trainer) -> None:
        pass

    def teardown(self) -> None:
        pass


def free(machine: Machine) -> None:
    """What Lightning frees at the end of a training; for one whose trainings may have others beside them."""
    if device_of(machine).type == "cuda":
        CUDAAccelerator().teardown()


def _trainer(machine: Machine, callbacks: list[pl.Callback], log_every: int) -> pl.Trainer:
    cuda = device_of(machine).type == "cuda"
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return pl.Trainer(
        accelerator=_Neighbour() if cuda and machine.devices > 1 else device_of(machine).type,
        devices=[torch.cuda.current_device()] if cuda else 1,
        max_epochs=1,
        limit_val_batches=0,
        logger=list(machine.loggers) or False,
        log_every_n_steps=log_every,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=True,
        use_distributed_sampler=False,
    )


def placed(model: AdaptedEncoder, machine: Machine) -> AdaptedEncoder:
    """The encoder where, and in the precision in which, this machine computes. Whether layers are computed again has a
    part in that (``AdaptedEncoder.stream``), also where nothing is trained.

    Raises ContinualError for a family whose layers transformers cannot checkpoint, where it must.
    """
    model.lower = torch.bfloat16 if machine.precision == "bf16-mixed" else None
    model.checkpoint(machine.gradient_checkpointing)
    return model.to(device_of(machine))


def captures(machine: Machine) -> bool:
    """Whether steps are captured where that is possible; layers that are computed again ask for a generator's state."""
    return machine.graphs and device_of(machine).type == "cuda" and not machine.gradient_checkpointing


def device_of(machine: Machine) -> torch.device:
    """Where the encoder lives during a run: on a machine with several GPUs on the current one of the thread."""
    return torch.device("cuda" if machine.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
