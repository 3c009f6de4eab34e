"""The command line: ``continual run``, ``sweep``, ``store`` and ``orders``. The only place that knows argv."""

from __future__ import annotations

import os
import sys
import traceback
import uuid
from collections.abc import Callable, Sequence
from importlib.resources import files as files_of
from pathlib import Path
from typing import cast

from continual.allocator import keep_memory
from continual.errors import ContinualError, unknown
from continual.secret import refuse_arguments
from continual.sweep import Ended, known, listing

USAGE = """\
continual: small modules on one frozen encoder: learned, stored, composed, measured

  continual run [group=option] [key=value] …   learn a stream of tasks        (continual run --help)
  continual run -m key=a,b …                   the same for every combination
  continual sweep                              list the sweeps that come with it
  continual sweep NAME [key=value] …           run each job of one that is not finished, and say how each ended
  continual store [FOLDER]                     list the stored modules and verify each of them
  continual store merge RULE NAME NAME … --as NAME   one new module out of several, without training
  continual store import|export|push|pull …    exchange modules with peft, AdapterHub, the Hub (… --help)
  continual orders RUN [--orders N]                what a run of isolated modules had scored in other orders
  continual --version

The first thing to type: continual run
"""


def main() -> None:
    """Exit codes: 0 all well; 1 an error to mend, or a run with failures; 2 a wrong command; 130 interrupted."""
    from continual.commands import orders, store

    commands: dict[str, Callable[[Sequence[str]], int]] = {"run": run, "sweep": sweep, "store": store, "orders": orders}
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("--help", "-h", "help"):
        print(USAGE, end="")
    elif name == "--version":
        from importlib.metadata import version

        print(f"continual {version('continual-adapters')}")
    elif name in commands:
        try:
            sys.exit(commands[name](rest))
        except ContinualError as error:
            sys.exit(_line(name, error))
        except KeyboardInterrupt:
            print(f"continual {name}: interrupted; the same command goes on where it stopped", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        print(f"continual: no command {name!r}; choose from: {', '.join(commands)}\n\n{USAGE}", end="", file=sys.stderr)
        sys.exit(2)


def run(arguments: Sequence[str]) -> int:
    """Compose the configuration with Hydra and run it, once per job of a sweep; a failed job stops no other."""
    return _run(arguments, [])


def sweep(arguments: Sequence[str]) -> int:
    """``continual run -m sweep=NAME …``, and a line for each job at the end; without a name, which sweeps there are.

    Jobs that are finished do nothing: a run is named by all that its result depends on.
    """
    if not arguments or arguments[0] in ("--help", "-h"):
        print(listing())
        return 0
    ended: list[Ended] = []
    code = _run(["-m", f"sweep={known(arguments[0])}", *arguments[1:]], ended)
    print("\n".join(["", *(end.line() for end in ended)]))
    return code


def _run(arguments: Sequence[str], ended: list[Ended]) -> int:
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
            print(_line("run", error), file=sys.stderr)
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
        print(f"{len(failures)} jobs failed:", *map(_one_line, failures), sep="\n  ", file=sys.stderr)
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


def _line(command: str, error: Exception) -> str:
    return f"continual {command}: {_one_line(str(error))}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
