"""Weights & Biases: one of its runs a run; the matrix as a table, stored modules as artifacts.

The key comes from the environment (WANDB_API_KEY), and what W&B would write down of the machine is left out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger

from continual.errors import ContinualError, one_line
from continual.logs.base import matrix, stored
from continual.report.record import Module, Record
from continual.store import Store

PRIVATE = {
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "disable_git": True,
    "host": "",
    "silent": True,
}


@dataclass(frozen=True)
class WandB:
    """project  of W&B
    group    the runs that it shows together; of a sweep its id (``conf/logger/wandb.yaml``)
    offline  written into ``<folder>/wandb`` only, for ``wandb sync``
    modules  whether stored modules are kept as artifacts
    """

    project: str = "continual"
    group: str | None = None
    offline: bool = True
    modules: bool = True

    def open(self, folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        from wandb import Settings  # a second that other loggers need not wait

        return (
            _Run(
                name=run_id,
                id=run_id,
                project=self.project,
                group=self.group,
                save_dir=folder,
                offline=self.offline,
                log_model=False,
                config=choices,
                settings=Settings(**PRIVATE),
                keep_modules=self.modules,
            ),
        )


class _Run(WandbLogger):
    def __init__(self, *, keep_modules: bool, **init: Any) -> None:
        super().__init__(**init)
        self._wandb_init.pop("anonymous", None)  # Lightning's word for no; W&B warns of either
        self.keep_modules = keep_modules

    @property
    def experiment(self) -> Any:
        """Raises ContinualError where W&B cannot begin: no key, no network."""
        from wandb.errors import Error

        try:
            return super().experiment
        except Error as error:
            raise ContinualError(
                f"logger=wandb: {one_line(str(error))} The key is WANDB_API_KEY in the environment; "
                "logger.offline=true needs none, and wandb sync sends it later"
            ) from error

    def keep_run(self, record: Record, store: Store) -> None:
        from wandb import Table

        columns, lines = matrix(record)
        self.experiment.log({"accuracy": Table(columns=columns, data=lines)})  # pyright: ignore[reportArgumentType]
        if self.keep_modules:
            self._modules(record, store)

    def _modules(self, record: Record, store: Store) -> None:
        made: dict[str, Any] = {}
        for module in stored(record):
            parents = [made[digest] for digest in module.parents if digest in made]
            if not self._offline:  # offline nobody can be asked: lineage is in the metadata alone
                for parent in parents:
                    self.experiment.use_artifact(parent.wait())
            made[module.digest] = self.experiment.log_artifact(_artifact(module, record, store))

    def close_run(self, failed: bool) -> None:
        """A run left open would take in the next one of the same process."""
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None and wandb.run.id == self.version:
            wandb.run.finish(exit_code=int(failed))


def _artifact(module: Module, record: Record, store: Store) -> Any:
    """The object of the store, file by file; its card and its parents' names as metadata."""
    from wandb import Artifact

    names = {other.digest: f"{other.name}/{other.version}" for other in record.modules}
    artifact = Artifact(
        module.name,
        type=module.kind,
        description=f"{module.method} of {module.task}",
        metadata={
            "digest": module.digest,
            "method": module.method,
            "task": module.task,
            "run": record.id,
            "parents": [names.get(digest, digest) for digest in module.parents],
            "parent_digests": module.parents,
        },
    )
    for file in sorted((store.root / "objects" / module.digest).resolve().iterdir()):
        artifact.add_file(str(file), policy="immutable")  # it is, so no copy is needed
    return artifact
