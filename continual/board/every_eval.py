"""A board in the schema of Every Eval Ever 0.3.0: one JSON file a row."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from pathlib import Path
from statistics import stdev
from typing import Any

from continual.board.rank import Standing
from continual.board.rules import Job, Rules
from continual.board.standings import Board
from continual.files import write_json
from continual.report.record import Record

VERSION = "0.3.0"
SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://evalevalai.com")
"""Of names of files: those of equal records are equal."""


def export(board: Board, folder: Path, by: str = "unknown") -> list[Path]:
    """Write ``data/<board>/continual/<row>/<uuid>.json`` below ``folder``, as their repository has it.

    by  the organization that ran it

    A row is what the schema calls a model. Its first result is the mean over the runs with the interval of the board,
    then comes each run. Ours are the values of ``additional_details`` and ``details``, all text as the schema wants:
    strategy, method, digests of stream, encoder and source, seed and order, and the SHA-256 of the run's record.
    """
    written = []
    for standing in board.standings:
        log = _log(board.rules, standing, by)
        name = f"{uuid.uuid5(SPACE, log['evaluation_id'] + _digests(standing))}.json"
        path = folder / "data" / board.rules.name / "continual" / standing.row.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, log)
        written.append(path)
    return written


def _log(rules: Rules, standing: Standing, by: str) -> dict[str, Any]:
    records = [entry.record for entry in standing.row.runs.values()]
    first, last = records[0], max(records, key=lambda record: datetime.fromisoformat(record.created))
    stamp = str(int(datetime.fromisoformat(last.created).timestamp()))
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{rules.name}/continual/{standing.row.name}/{stamp}",
        "evaluation_timestamp": last.created,
        "retrieved_timestamp": stamp,
        "source_metadata": {
            "source_name": rules.name,
            "source_type": "evaluation_run",
            "source_organization_name": by,
            "evaluator_relationship": "first_party",
            "additional_details": {"asks": rules.asks, "experiment": " ".join(rules.experiment)},
        },
        "eval_library": {
            "name": "continual-adapters",
            "version": first.versions.get("continual-adapters", "unknown"),
            "additional_details": {"source": first.code},
        },
        "model_info": {
            "name": standing.row.name,
            "id": f"continual/{standing.row.name}",
            "additional_details": _model(first),
        },
        "evaluation_results": [_mean(rules, standing), *(_run(rules, standing, job) for job in rules.jobs)],
    }


def _model(record: Record) -> dict[str, str]:
    """What was learned lies in the store of whoever ran it: nobody promises that its weights can be had."""
    return {
        "deployment_type": "self_deployed",
        "model_availability": "unknown",
        "strategy": record.strategy,
        "method": record.method,
        "choices": json.dumps(record.config["choices"], sort_keys=True),
        "encoder": record.encoder.name,
        "encoder_fingerprint": record.encoder.fingerprint,
    }


def _mean(rules: Rules, standing: Standing) -> dict[str, Any]:
    score, values = standing.score, list(standing.row.values.values())
    uncertainty: dict[str, Any] = {"num_samples": score.runs}
    if score.runs > 1:
        method = "Student's t over runs; of several seeds and orders both count (crossed)"
        interval = {"lower": score.low, "upper": score.high, "confidence_level": 0.95, "method": method}
        uncertainty |= {"standard_deviation": stdev(values), "confidence_interval": interval}
    details = {"rank": str(standing.rank), "tie": str(standing.tie).lower(), "runs": str(score.runs)}
    result = _result(rules, f"{rules.name}.mean", score.mean, details, {o.name: o.digest for o in rules.orders})
    result["score_details"]["uncertainty"] = uncertainty
    return {"evaluation_result_id": "mean", **result}


def _run(rules: Rules, standing: Standing, job: Job) -> dict[str, Any]:
    entry, (seed, order) = standing.row.runs[job], job
    details = {"seed": str(seed), "order": order, "run": entry.record.id, "record_sha256": entry.path.stem}
    name, stream = f"{rules.name}.seed-{seed}.{order}", {order: entry.record.stream_digest}
    result = _result(rules, name, standing.row.values[job], details, stream)
    return {"evaluation_result_id": entry.record.id, "evaluation_timestamp": entry.record.created, **result}


def _result(rules: Rules, name: str, score: float, details: dict[str, str], digests: dict[str, str]) -> dict[str, Any]:
    """The bounds say that none are declared: a transfer can be below 0."""
    metric = rules.formula()
    return {
        "evaluation_name": name,
        "source_data": {
            "dataset_name": rules.stream,
            "source_type": "other",
            "additional_details": {f"digest of order {order}": digest for order, digest in digests.items()},
        },
        "metric_config": {
            "evaluation_description": metric.says,
            "metric_id": f"continual.{metric.name}",
            "metric_name": metric.definition,
            "metric_unit": "proportion",
            "lower_is_better": metric.loss,
            "score_type": "continuous",
            "min_score": "-Infinity",
            "max_score": "Infinity",
        },
        "score_details": {"score": score, "details": details},
    }


def _digests(standing: Standing) -> str:
    return "".join(sorted(entry.path.stem for entry in standing.row.runs.values()))
