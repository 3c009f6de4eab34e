"""What a Python file offers: its public names, with their signatures and docstrings as they stand in it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Entry:
    """A public name.

    code     its signature; of a class its fields and the signatures of its methods, without their bodies
    says     its docstring
    methods  of a class: those of its methods that have a docstring, by name
    """

    name: str
    code: str
    says: str
    methods: tuple[tuple[str, str], ...] = ()


class Source:
    """A module's docstring, ``says``, and its public names in the order of the file, ``entries``."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        self._lines = text.splitlines()
        self.says = ast.get_docstring(tree) or ""
        self.entries = [*self._entries(tree.body)]

    def _entries(self, body: list[ast.stmt]) -> Iterator[Entry]:
        for node, after in pairwise([*body, None]):
            if isinstance(node, Function) and _public(node.name):
                yield Entry(node.name, self._header(node), ast.get_docstring(node) or "")
            elif isinstance(node, ast.ClassDef) and _public(node.name):
                yield self._class(node)
            elif (name := _assigned(node)) and (says := _string(after)):
                yield Entry(name, self._text(node, node.end_lineno), says)

    def _class(self, node: ast.ClassDef) -> Entry:
        fields, signatures, methods = [], [], []
        for child in node.body:
            if isinstance(child, ast.AnnAssign) and _public(ast.unparse(child.target)):
                fields.append(self._text(child, child.end_lineno))
            elif isinstance(child, Function) and (_public(child.name) or child.name == "__init__"):
                signatures.append(self._header(child))
                if says := ast.get_docstring(child):
                    methods.append((child.name, says))
        body = "\n\n".join("\n".join(part) for part in (fields, signatures) if part)
        code = self._header(node) + ("\n" + textwrap.indent(body, "    ") if body else "")
        return Entry(node.name, code, ast.get_docstring(node) or "", tuple(methods))

    def _header(self, node: Function | ast.ClassDef) -> str:
        """From the first decorator to the colon before the body."""
        end, last = node.lineno, node.body[0].lineno
        while end < last and not re.search(r":(\s*#.*)?$", self._lines[end - 1]):
            end += 1
        return re.sub(r":(\s*#.*|\s*\.\.\.)?$", "", self._text(node, end))

    def _text(self, node: ast.stmt, end: int | None) -> str:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        return textwrap.dedent("\n".join(self._lines[start - 1 : end]))


def _public(name: str) -> bool:
    return not name.startswith("_")


def _assigned(node: ast.stmt) -> str:
    """The public name that a statement gives a value; empty for none."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names[0] if names and _public(names[0]) else ""


def _string(node: ast.stmt | None) -> str:
    """The text below a constant that says what it is."""
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
