"""The command line: ``continual run`` and ``continual store``. The only place that knows argv."""

from __future__ import annotations

import os
import sys
import traceback
import uuid
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from importlib.resources import files as files_of
from pathlib import Path

from continual.errors import ContinualError, unknown
from continual.secret import refuse_arguments

USAGE = """\
continual: small modules on one frozen encoder: learned, stored, composed, measured

  continual run [group=option] [key=value] …   learn a stream of tasks        (continual run --help)
  continual run -m key=a,b …                   the same for every combination
  continual store [FOLDER]                     list the stored modules and verify each of them
  continual store import|export|push|pull …    exchange modules with peft, AdapterHub, the Hub (… --help)
  continual --version

The first thing to type: continual run
"""


def main() -> None:
    """Exit codes: 0 all well; 1 an error to mend, or a run with failures; 2 a wrong command; 130 interrupted."""
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
    refuse_arguments(arguments)
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    OmegaConf.register_new_resolver("uid", lambda: uuid.uuid4().hex[:12], use_cache=True, replace=True)
    failures: list[str] = []

    def job(config: DictConfig) -> float | None:
        try:
            return _job(config, failures)
        except ContinualError as error:
            print(_line("run", error), file=sys.stderr)
            failures.append(str(error))
        except BrokenPipeError:
            raise
        except Exception as error:
            traceback.print_exc()
            failures.append(f"a bug, please report it: {type(error).__name__}: {error}")
        return None

    multirun = ("-m", "--multirun")  # Hydra finds it before all overrides only
    sys.argv = ["continual run", *sorted(arguments, key=lambda argument: argument not in multirun)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it finds, and leaves it to us how that is said
    try:
        hydra.main(config_path="pkg://continual.conf", config_name="run", version_base="1.3")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise _mended(error) from error
    if len(failures) > 1:
        print(f"{len(failures)} jobs failed:", *map(_one_line, failures), sep="\n  ", file=sys.stderr)
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


def store(arguments: Sequence[str]) -> int:
    """List what is stored, and read every byte of it back; or exchange modules with other places."""
    if arguments and arguments[0] in EXCHANGE:
        refuse_arguments(arguments)
        return EXCHANGE[arguments[0]](arguments[1:])
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(
            f"usage: continual store [FOLDER]   (default: store)\n       continual store {'|'.join(EXCHANGE)} --help",
            file=sys.stderr,
        )
        return 2
    from continual.store import Store

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


def _parser(command: str, what: str) -> ArgumentParser:
    parser = ArgumentParser(f"continual store {command}", description=what, allow_abbrev=False)
    parser.add_argument("--store", default="store", metavar="FOLDER", help="the store (default: store)")
    return parser


def _kept(name: str, digest: str, version: int) -> None:
    print(f"{name + '/' + str(version):60} {digest[:16]}")


def _import(arguments: Sequence[str]) -> int:
    parser = _parser("import", "Store a module that peft or AdapterHub's adapters saved.")
    parser.add_argument("folder", metavar="FOLDER", help="what the library saved")
    parser.add_argument("--name", required=True, help="its name in the store")
    parser.add_argument("--encoder", default="minilm", help="the encoder that it was trained on (default: minilm)")
    parser.add_argument("--revision", help="of the encoder, where it is one of the Hub")
    parser.add_argument("--pooling", default="mean", help="mean, cls or pooler: what a head reads (default: mean)")
    parser.add_argument("--tower", choices=["text", "vision"], help="of an encoder that has both")
    given = parser.parse_args(arguments)
    from continual import exchange
    from continual.encoder.adapted import AdaptedEncoder
    from continual.encoder.load import load
    from continual.exchange import fusion, keep
    from continual.store import Store

    encoder = load(given.encoder, given.revision, pooling=given.pooling, tower=given.tower)
    model, folder, opened = AdaptedEncoder(encoder), Path(given.folder), Store(given.store)
    if fusion.is_setup(folder):
        _kept(given.name, *keep.keep_setup(opened, given.name, fusion.read(folder, model), encoder))
        return 0
    imported = exchange.read(folder, model)
    _kept(given.name, *keep.keep(opened, given.name, imported, encoder))
    for note in imported.notes:
        print(f"  note: {note}")
    return 0


def _export(arguments: Sequence[str]) -> int:
    parser = _parser("export", "Write a stored module as a folder that peft loads.")
    parser.add_argument("name", metavar="NAME", help="name, name/version or digest")
    parser.add_argument("folder", metavar="FOLDER", help="where to")
    parser.add_argument("--format", choices=["peft"], default="peft")
    parser.add_argument("--encoder", help="the module's encoder, where it is not found under the name in its card")
    parser.add_argument("--tower", choices=["text", "vision"], help="of an encoder that has both")
    given = parser.parse_args(arguments)
    from continual.encoder.adapted import AdaptedEncoder
    from continual.encoder.load import load
    from continual.exchange import peft_write
    from continual.store import Store, require

    entry = Store(given.store).get(given.name)
    made = entry.card.encoder
    try:
        revision, pooling = None if given.encoder else made.revision, entry.card.pooling
        encoder = load(given.encoder or made.name, revision, pooling=pooling, tower=given.tower)
    except ContinualError as error:
        raise error if given.encoder else ContinualError(f"{error}; or say where it is: --encoder FOLDER") from None
    require(entry.card, encoder)
    notes = peft_write.write(entry, AdaptedEncoder(encoder), Path(given.folder))
    print(f"{given.name} is in {given.folder}")
    for note in notes:
        print(f"  note: {note}")
    return 0


def _push(arguments: Sequence[str]) -> int:
    parser = _parser("push", "Send a stored module, and those it composes, to the Hub or into a folder.")
    parser.add_argument("name", metavar="NAME", help="name, name/version or digest")
    parser.add_argument("target", metavar="REPO_OR_FOLDER", help="owner/name on the Hub, or ./folder")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    given = parser.parse_args(arguments)
    from continual.exchange.hub import push
    from continual.store import Store

    print(f"{given.name} is in {push(Store(given.store), given.name, given.target, private=not given.public)}")
    return 0


def _pull(arguments: Sequence[str]) -> int:
    parser = _parser("pull", "Store what was pushed, held against its digest.")
    parser.add_argument("source", metavar="REPO_OR_FOLDER", help="owner/name on the Hub, or ./folder")
    parser.add_argument("--revision", help="commit, tag or branch (default: the newest)")
    parser.add_argument("--name", help="its name here (default: as it was pushed)")
    given = parser.parse_args(arguments)
    from continual.exchange.hub import pull
    from continual.store import Store

    for name, digest, version in pull(Store(given.store), given.source, given.revision, given.name):
        _kept(name, digest, version)
    return 0


EXCHANGE: dict[str, Callable[[Sequence[str]], int]] = {
    "import": _import,
    "export": _export,
    "push": _push,
    "pull": _pull,
}
