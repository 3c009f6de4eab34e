"""``continual run``: Hydra composes the configuration, and it is run, once per job of a sweep."""

from __future__ import annotations

import os
import sys
import traceback
import uuid
from collections.abc import Sequence
from importlib.resources import files as files_of
from pathlib import Path
from typing import cast

from continual.allocator import keep_memory
from continual.errors import ContinualError, one_line, unknown
from continual.secret import refuse_arguments
from continual.sweep import Ended


def main(arguments: Sequence[str]) -> int:
    """Compose the configuration with Hydra and run it, once per job of a sweep; a failed job stops no other."""
    return jobs(arguments, [])


def jobs(arguments: Sequence[str], ended: list[Ended]) -> int:
    """Run all jobs; how each ended is added to ``ended``."""
    refuse_arguments(arguments)
    keep_memory()
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    OmegaConf.register_new_resolver("uid", lambda: uuid.uuid4().hex[:12], use_cache=True, replace=True)

    def job(config: DictConfig) -> float | None:
        which = tuple(cast("list[str]", OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)))
        try:
            end = _job(config, which)
        except ContinualError as error:
            print(f"continual run: {one_line(str(error))}", file=sys.stderr)
            end = Ended(which, "failed", why=str(error))
        except BrokenPipeError:
            raise
        except Exception as error:
            traceback.print_exc()
            end = Ended(which, "failed", why=f"a bug, please report it: {type(error).__name__}: {error}")
        ended.append(end)
        return end.value

    multirun = ("-m", "--multirun")  # Hydra finds it before all overrides only
    sys.argv = ["continual run", *sorted(arguments, key=lambda argument: argument not in multirun)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it finds, and leaves it to us how that is said
    try:
        hydra.main(config_path="pkg://continual.conf", config_name="run", version_base="1.3")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise _mended(error) from error
    failures = [end.why for end in ended if end.why]
    if len(failures) > 1:
        print(f"{len(failures)} jobs failed:", *map(one_line, failures), sep="\n  ", file=sys.stderr)
    return 1 if failures else 0


def _job(config: object, which: tuple[str, ...]) -> Ended:
    from continual.grouped import job_of
    from continual.report.table import show

    job = job_of(config)  # type: ignore[arg-type]
    parts = job.parts
    folder = parts.runs / parts.run_id
    record = job.record()
    show(record)
    print(f"\nrecord     {folder / 'run.json'}\ndashboard  {folder / 'dashboard.html'}\nmodules    {parts.store}")
    objective = parts.config["objective"]
    value = record.metrics[objective].value if objective in record.metrics else None
    if record.status != "finished":
        return Ended(which, "failed", objective, value, f"run {record.id}: {record.status}")
    return Ended(which, "was finished before" if job.before else "finished", objective, value)


def _mended(error: Exception) -> ContinualError:
    """What Hydra found wrong with the command line, in our words."""
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and "/" in str(error.missing_cfg_file):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        files = files_of("continual.conf").joinpath(group)
        if files.is_dir():
            return unknown(group, option, [Path(file.name).stem for file in files.iterdir()])
    first = str(error).splitlines()[0].rstrip(".")
    return ContinualError(f"{first}; continual run --help shows the groups, continual run --cfg job all keys")
