"""The command line: ``continual run`` and ``continual store``. The only place that knows argv."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Sequence

from continual.errors import ContinualError

USAGE = """\
continual: small modules on one frozen encoder: learned, stored, composed, measured

  continual run [group=option] [key=value] …   learn a stream of tasks        (continual run --help)
  continual run -m key=a,b …                   the same for every combination
  continual store [FOLDER]                     list the stored modules and verify each of them
  continual --version

The first thing to type: continual run
"""


def main() -> None:
    """Entry point: 0 all well, 1 an error that the user can mend or a run with failures, 2 a wrong command."""
    commands: dict[str, Callable[[Sequence[str]], int]] = {"run": run, "store": store}
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
            sys.exit(f"continual {name}: {error}")
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        print(f"continual: no command {name!r}; choose from: {', '.join(commands)}\n\n{USAGE}", end="", file=sys.stderr)
        sys.exit(2)


def run(arguments: Sequence[str]) -> int:
    """Compose the configuration with Hydra and run it, once per job of a sweep."""
    import hydra
    from omegaconf import DictConfig, OmegaConf

    OmegaConf.register_new_resolver("uid", lambda: uuid.uuid4().hex[:12], use_cache=True, replace=True)
    failures: list[str] = []

    def job(config: DictConfig) -> float | None:
        try:
            return _job(config, failures)
        except ContinualError as error:
            failures.append(str(error))
            print(f"continual run: {error}", file=sys.stderr)
            return None

    sys.argv = ["continual run", *arguments]
    hydra.main(config_path="pkg://continual.conf", config_name="run", version_base="1.3")(job)()
    if len(failures) > 1:
        print(f"{len(failures)} jobs failed:", *failures, sep="\n  ", file=sys.stderr)
    return 1 if failures else 0


def _job(config: object, failures: list[str]) -> float | None:
    from continual.build import build
    from continual.drive import run_stream
    from continual.report.table import show

    parts = build(config)  # type: ignore[arg-type]
    record = run_stream(parts)
    show(record)
    folder = parts.runs / record.id
    print(f"\nrecord     {folder / 'run.json'}\ndashboard  {folder / 'dashboard.html'}\nmodules    {parts.store}")
    if record.status != "finished":
        failures.append(f"run {record.id}: {record.status}")
    metric = record.metrics.get(parts.config["objective"])
    return metric.value if metric is not None else None


def store(arguments: Sequence[str]) -> int:
    """List what is stored, and read every byte of it back."""
    from continual.store import Store

    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: continual store [FOLDER]   (default: store)")
        return 2
    opened = Store(arguments[0] if arguments else "store")
    bad = dict(opened.verify())
    for name in opened.names():
        for version in opened.versions(name):
            reference = f"{name}/{version}"
            state = bad.get(reference) or opened.resolve(reference)[:16]
            print(f"{reference:60} {state}")
    if not opened.names():
        print(f"no modules in {opened.root}; continual run makes some")
    return 1 if bad else 0
