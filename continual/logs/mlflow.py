"""MLflow: one of its runs a run, in one database beside all runs, for ``mlflow ui``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger

from continual.logs.base import absent, matrix, stored
from continual.report.record import Record
from continual.store import Store


@dataclass(frozen=True)
class MLflow:
    """experiment  the name that it shows runs under
    uri         where its server or database is; None: ``mlflow.db`` in the folder of all runs
    modules     whether stored modules are kept as artifacts
    """

    experiment: str = "continual"
    uri: str | None = None
    modules: bool = True

    def open(self, folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        runs = folder.parent.resolve()
        uri = self.uri or f"sqlite:///{runs / 'mlflow.db'}"
        place = None if self.uri else (runs / "mlruns").as_uri()
        try:
            logger = _Run(self.experiment, run_name=run_id, tracking_uri=uri, artifact_location=place)
        except ModuleNotFoundError as error:
            raise absent("mlflow", "MLflow") from error
        logger.keep_modules = self.modules
        return (logger,)


class _Run(MLFlowLogger):
    keep_modules = True

    def finalize(self, status: str = "success") -> None:
        """Lightning's word at the end of every training: the run goes on."""

    def close_run(self, failed: bool) -> None:
        super().finalize("failed" if failed else "success")

    def keep_run(self, record: Record, store: Store) -> None:
        columns, lines = matrix(record)
        client, run = self.experiment, str(self.run_id)
        self.log_hyperparams(record.config["choices"])
        client.log_table(run, dict(zip(columns, map(list, zip(*lines, strict=True)), strict=True)), "accuracy.json")
        for module in stored(record) if self.keep_modules else []:
            client.log_artifacts(run, str(store.root / "objects" / module.digest), f"modules/{module.name}")
