"""``continual completion bash|zsh``: what makes a shell complete commands, groups, keys, runs and modules by Tab."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files as files_of
from pathlib import Path

from continual import folder

BASH = r"""# eval "$(continual completion bash)"
_continual() {
    local line=${COMP_LINE:0:COMP_POINT} breaks=${COMP_WORDBREAKS//[^=:]/} word begun found
    word=${line##*[[:space:]]}
    # What stands before a = or : is no part of the word that bash completes, where it breaks words there.
    if [[ -n $breaks && $word == *[$breaks]* ]]; then begun=${word%"${word##*[$breaks]}"}; fi
    COMPREPLY=()
    while IFS= read -r found; do
        case $found in *[=./] | *"["*) ;; *) found+=" " ;; esac
        COMPREPLY+=("${found#"$begun"}")
    done < <(continual completion words "$line" 2>/dev/null)
}
complete -o nospace -o default -F _continual continual
"""

ZSH = r"""# eval "$(continual completion zsh)", behind compinit
_continual() {
    local -a found open
    found=(${(f)"$(continual completion words "${(j: :)words[1,CURRENT]}" 2>/dev/null)"})
    if (( ! $#found )); then _files; return; fi
    open=(${(M)found:#(*[=./]|*\[*)})
    compadd -Q -S '' -a open
    compadd -Q -- ${found:|open}
}
compdef _continual continual
"""

SHELLS = {"bash": BASH, "zsh": ZSH}
OF_RUNS = {
    "dash": ("--out", "--live", "--port", "--help"),
    "compare": ("--help",),
    "board": ("--check", "--help"),
    "orders": ("--orders", "--seed", "--order", "--store", "--help"),
}
"""Commands whose arguments are runs, and the options of each."""
BOARD = ("new", "add", "verify", "export")
STORE = ("merge", "import", "export", "push", "pull", "--help")
FLAGS = ("-m", "--multirun", "--help", "--cfg", "--resolve", "--config-dir", "--info")
PLAIN = re.compile(r"[\w.,:=/@%+\[\]-]+", re.ASCII)
"""What a shell takes as it stands. A folder may have any name, and a completed line is one Enter from being run."""


def main(arguments: Sequence[str]) -> int:
    """Print the script for a shell; its function asks for the ``words`` that a line may go on with, one a line."""
    if len(arguments) == 1 and arguments[0] in SHELLS:
        print(SHELLS[arguments[0]], end="")
        return 0
    if len(arguments) == 2 and arguments[0] == "words":
        for word in suggestions(arguments[1]):  # none: not even an empty line, which bash would put for the word
            print(word)
        return 0
    print('usage: eval "$(continual completion bash)", in ~/.bashrc; zsh likewise, behind compinit', file=sys.stderr)
    return 2


def suggestions(line: str) -> list[str]:
    """What the last word of a line, begun or empty, may become: whole words, in order."""
    words = line.split()[1:] + [""] * (line[-1:].isspace() or line.split()[1:] == [])
    found = set(_after(words[:-1], words[-1]))
    return sorted(one for one in found if one.startswith(words[-1]) and PLAIN.fullmatch(one))


def _after(before: list[str], word: str) -> Iterable[str]:
    if not before:
        return [*folder.names("continual.command"), "--help", "--version"]
    command, more = before[0], before[1:]
    if command == "sweep" and not more:
        return _options("sweep")
    if command in ("run", "sweep"):
        return FLAGS if word.startswith("-") else _overrides(more if command == "run" else more[1:], word)
    if command == "board" and (not more or more[0] != "add"):
        return [*BOARD, *OF_RUNS["board"]] if not more else []  # a board is a folder: the shell knows those
    if command in OF_RUNS:
        return OF_RUNS[command] if word.startswith("-") else _runs(word)
    if command == "store":
        if not more:  # a verb, or a store's folder: the shell knows those
            return STORE
        return (_options("merging") if more == ["merge"] else []) or _children(Path("store/names"))
    return SHELLS if command == "completion" and not more else []


def _overrides(before: list[str], word: str) -> Iterable[str]:
    """Groups, their options and the keys of the configuration, as Hydra knows them; of a list its last element."""
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    key, equal, value = word.partition("=")
    ended = re.match(r"\[?([^\[\],]+,)*", value)
    begun = ended.group() if ended is not None else ""
    asked = " ".join([*before, f"{key}{equal}{value.removeprefix(begun)}"])
    with initialize_config_module("continual.conf", version_base="1.3"):
        found = DefaultCompletionPlugin(GlobalHydra.instance().config_loader())._query("run", asked)
    return [one.replace(equal, equal + begun, 1) if begun else one for one in found]


def _runs(word: str) -> Iterable[str]:
    """Folders of finished runs, below what is typed so far, else below ``runs``."""
    above = Path(word.rpartition("/")[0] or "runs")
    return [str(above / name) for name in _children(above) if (above / name / "run.json").exists()]


def _options(group: str) -> list[str]:
    return [Path(file.name).stem for file in files_of("continual.conf").joinpath(group).iterdir()]


def _children(place: Path) -> list[str]:
    return [child.name for child in place.iterdir()] if place.is_dir() else []
