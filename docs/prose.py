"""Docstrings as Markdown: prose with its code marked, tables and doctests as they stand."""

from __future__ import annotations

import re

COLUMNS = re.compile(r"\S {2,}\S|^ {2,}", re.M)
"""Where spaces mean something: aligned columns, and what is indented."""
MARKED = re.compile(r"``(.+?)``|`([^`\n]+)`", re.S)
MARKUP = re.compile(r"[\\*]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|\](?=\()|^[#>](?= )", re.M)
"""What Markdown would take for emphasis, a tag, a link, a heading or a quotation."""


def markdown(docstring: str) -> str:
    """The paragraphs of a cleaned docstring. ``code`` becomes `code`; of the rest no character acts as markup."""
    return "\n\n".join(map(_paragraph, re.split(r"\n{2,}", docstring.strip("\n"))))


def _paragraph(text: str) -> str:
    if text.startswith(">>>"):
        return f"```python\n{text}\n```"
    if text.startswith("- "):
        return _prose(text)
    if COLUMNS.search(text):
        return f"```text\n{text}\n```"
    return _prose(text)


def _prose(text: str) -> str:
    pieces, end = [], 0
    for found in MARKED.finditer(text):
        pieces += [_literal(text[end : found.start()]), f"`{found[1] or found[2]}`"]
        end = found.end()
    return "".join([*pieces, _literal(text[end:])])


def _literal(text: str) -> str:
    return MARKUP.sub(r"\\\g<0>", text)
