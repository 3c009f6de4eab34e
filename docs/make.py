"""The API reference: pages in docs/api out of the docstrings, one for each folder of the package. Nothing is imported.

python docs/make.py            write them
python docs/make.py --check    say which differ from what would be written; exit code 1 where any does
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from prose import markdown
from source import Entry, Source

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "docs" / "api"
MADE = "<!-- made by docs/make.py out of docstrings; do not edit -->"
BEGIN = "The public names of every module, out of its docstrings. What a notebook imports from `continual` itself:"


def pages() -> dict[str, str]:
    """File name -> text, of all pages."""
    inside = [path.parent for path in (ROOT / "continual").rglob("__init__.py")]
    folders = {".".join(path.relative_to(ROOT).parts): path for path in inside}
    folders["continual.task_streams"] = ROOT / "task_streams"
    made = {f"{name}.md": page(name, folders[name]) for name in sorted(folders)}
    return {"README.md": index(folders), **made}


def page(package: str, folder: Path) -> str:
    """All modules of one folder."""
    contents = " ·\n".join(f"[{path.stem}](#{anchor(path)})" for path in modules(folder))
    parts = [MADE, f"# {package}", markdown(Source(folder / "__init__.py").says), contents, *own(folder)]
    for path in modules(folder):
        source = Source(path)
        parts += [f"## [{title(path)}]({link(path)})", markdown(source.says)]
        for entry in source.entries:
            parts += shown(entry)
    return "\n\n".join(filter(None, parts)) + "\n"


def own(folder: Path) -> list[str]:
    """What a package itself defines."""
    return [part for entry in Source(folder / "__init__.py").entries for part in shown(entry)]


def shown(entry: Entry) -> list[str]:
    """A name as the paragraphs of a page."""
    methods = [f"**{name}**: {markdown(says)}" for name, says in entry.methods]
    return [f"### {entry.name}", f"```python\n{entry.code}\n```", markdown(entry.says), *methods]


def index(folders: dict[str, Path]) -> str:
    """The notebook's names and where they are, and all pages."""
    names = [f"[`{name}`]({page}.md#{heading})" for name, (page, heading) in notebook().items()]
    rows = [f"| [{name}]({name}.md) | {first(folders[name] / '__init__.py')} |" for name in sorted(folders)]
    parts = [MADE, "# API reference", BEGIN, " ·\n".join(names), "\n".join(["| page | |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def notebook() -> dict[str, tuple[str, str]]:
    """Name -> page and anchor of its module, for the names that ``continual/__init__.py`` offers."""
    tree = ast.parse((ROOT / "continual" / "__init__.py").read_text(encoding="utf-8"))
    values = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    found = {}
    for name, place in ast.literal_eval(values["_HOME"]).items():
        folder = (ROOT / "continual").joinpath(*place.split("."))
        among = modules(folder) if folder.is_dir() else [folder.with_suffix(".py")]
        [path] = [path for path in among if name in {entry.name for entry in Source(path).entries}]
        found[name] = ".".join(path.parent.relative_to(ROOT).parts), anchor(path)
    return found


def first(path: Path) -> str:
    """The first sentence of a module's docstring."""
    return re.split(r"\.\s|\.$", markdown(Source(path).says).replace("\n", " "), maxsplit=1)[0]


def modules(folder: Path) -> list[Path]:
    """What the others are held against comes first."""
    found = [path for path in folder.glob("*.py") if not path.stem.startswith("__")]
    return sorted(found, key=lambda path: (path.stem != "base", path.stem))


def title(path: Path) -> str:
    """A module's heading, unlike that of any name."""
    return f"{path.parent.name}/{path.name}"


def anchor(path: Path) -> str:
    """Of its heading, as GitHub makes it."""
    return re.sub(r"[^\w-]", "", title(path).lower())


def link(path: Path) -> str:
    """From a page to a file of the repository."""
    return f"../../{path.relative_to(ROOT).as_posix()}"


def main(arguments: list[str]) -> int:
    """Write, or with --check compare."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    made = pages()
    old = {path.name: path.read_text(encoding="utf-8") for path in API.glob("*.md")}
    stale = sorted(name for name in made.keys() | old.keys() if made.get(name) != old.get(name))
    if arguments:
        print("\n".join([f"would change docs/api/{name}" for name in stale] or ["docs/api is up to date"]))
        return 1 if stale else 0
    API.mkdir(exist_ok=True)
    for name in stale:
        if name in made:
            (API / name).write_text(made[name], encoding="utf-8")
        else:
            (API / name).unlink()
    print(f"{len(stale)} of {len(made)} pages of docs/api written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
