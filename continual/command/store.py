"""``continual store …``: what is stored, listed and verified; merged; exchanged with other places."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

from continual.errors import ContinualError
from continual.secret import refuse_arguments


def main(arguments: Sequence[str]) -> int:
    """List what is stored, and read every byte of it back; or exchange modules with other places."""
    if arguments and arguments[0] in COMMANDS:
        refuse_arguments(arguments)
        return COMMANDS[arguments[0]](arguments[1:])
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        asked = list(arguments) in (["--help"], ["-h"])
        print(
            f"usage: continual store [FOLDER]   (default: store)\n       continual store {'|'.join(COMMANDS)} --help",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    from continual.store import Store

    if arguments and not Path(arguments[0]).is_dir():
        raise ContinualError(
            f"{arguments[0]} does not exist; expected a store's folder, or one of {', '.join(COMMANDS)}"
        )
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


def _merge(arguments: Sequence[str]) -> int:
    parser = _parser("merge", "One new module out of several of one method, without training; it knows its parents.")
    parser.add_argument("rule", metavar="RULE", help="arithmetic, mean, ties, dare, dare_ties or svd")
    parser.add_argument("names", metavar="NAME", nargs="+", help="modules: name, name/version or digest")
    parser.add_argument("--as", dest="name", required=True, metavar="NAME", help="its name in the store")
    parser.add_argument("--weights", type=float, nargs="+", metavar="λ", help="one for each module, or one for all")
    parser.add_argument("--head", metavar="NAME", help="the module whose head and labels it takes (default: the first)")
    given = parser.parse_args(arguments)
    from continual import merging
    from continual.recalled import merge
    from continual.store import Store

    rule = merging.named(given.rule, {"weights": tuple(given.weights)} if given.weights else {})
    _kept(given.name, *merge(Store(given.store), rule, given.names, given.name, given.head))
    return 0


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


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "merge": _merge,
    "import": _import,
    "export": _export,
    "push": _push,
    "pull": _pull,
}
