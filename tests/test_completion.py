"""What Tab gives after ``continual``: asked of the command, of a real bash, and of zsh where it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from continual import cli
from continual.command.completion import suggestions
from tests import running

Command = Callable[..., running.Ended]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two finished runs, one that is not, a run of a hostile name, and a store with one module."""
    monkeypatch.chdir(tmp_path)
    for name in ("0a", "1b", "$(touch x)", "a b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    (tmp_path / "runs" / "2c").mkdir()
    (tmp_path / "store" / "names" / "toy.toy-0.lora").mkdir(parents=True)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("continual", sorted([*cli.COMMANDS, "--help", "--version"])),
        ("continual ", sorted([*cli.COMMANDS, "--help", "--version"])),
        ("continual ru", ["run"]),
        ("continual run metho", ["method.", "method="]),
        ("continual run method=bo", ["method=bottleneck"]),
        ("continual run method=lora method.rank", ["method.rank=", "method.rank_stabilized="]),
        ("continual run composition=[fusion,un", ["composition=[fusion,unipelt"]),
        ("continual run -m method=lora,bo", ["method=lora,bottleneck"]),
        ("continual run hydra/lau", ["hydra/launcher="]),
        ("continual run --cf", ["--cfg"]),
        ("continual run nothing", []),
        ("continual sweep clinc_", ["clinc_class"]),
        ("continual sweep clinc method=bo", ["method=bottleneck"]),
        ("continual orders ", ["runs/0a", "runs/1b"]),
        ("continual compare runs/0a runs/1", ["runs/1b"]),
        ("continual dash ./ru", []),
        ("continual dash --l", ["--live"]),
        ("continual board ", ["--check", "--help", "add", "export", "new", "verify"]),
        ("continual board add boards/mine ", ["runs/0a", "runs/1b"]),
        ("continual board verify bo", []),
        ("continual store ", ["--help", "export", "import", "merge", "pull", "push"]),
        ("continual store t", []),
        ("continual store export t", ["toy.toy-0.lora"]),
        ("continual store merge t", ["ties"]),
        ("continual store merge ties toy", ["toy.toy-0.lora"]),
        ("continual completion ", ["bash", "zsh"]),
        ("continual nothing ", []),
    ],
)
def test_a_line_goes_on_with(line: str, found: list[str]) -> None:
    assert suggestions(line) == found


def test_names_that_a_shell_would_act_on_are_left_out() -> None:
    assert {"$(touch x)", "a b"} < {path.name for path in Path("runs").iterdir()}
    assert suggestions("continual orders runs/") == ["runs/0a", "runs/1b"]


def test_no_suggestion_waits_for_torch(tmp_path: Path) -> None:
    code = """
import sys
from continual.command.completion import suggestions
for line in sys.argv[1:]:
    suggestions(line)
print("torch" in sys.modules)
"""
    lines = ["continual ", "continual run method=", "continual store merge ", "continual orders ", "continual sweep c"]
    assert running.python(code, tmp_path, *lines).stdout == "False\n"


def test_any_other_call_says_how_it_is_used(command: Command) -> None:
    ended = command("completion", "fish")
    assert (ended.code, ended.out) == (2, "")
    assert 'eval "$(continual completion bash)"' in ended.err


def shell(words: list[str], tmp_path: Path) -> str:
    """What a shell prints in which the command ``continual`` is this package."""
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "continual").write_text(f'#!/bin/sh\nexec {sys.executable} -m continual "$@"\n')
    (bin / "continual").chmod(0o755)
    env = running.environment()
    env["PATH"] = f"{bin}:{env['PATH']}"
    ran = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout


BASH = """
eval "$(continual completion bash)"
complete -p continual
for COMP_LINE in "continual ru" "continual run method=bot" "continual run method.reduc" "continual orders runs/0"; do
    COMP_POINT=${#COMP_LINE}
    _continual
    printf '<%s>' "${COMPREPLY[@]}"
done
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
COMP_LINE="continual run method=bot" COMP_POINT=24
_continual
printf '<%s>' "${COMPREPLY[@]}"
COMP_LINE="continual dash desk.c" COMP_POINT=21
_continual
echo "${#COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_what_it_takes_for_the_last_word(tmp_path: Path) -> None:
    """It breaks words at "=", unless it was told not to; a space follows where a word is whole.

    Where it is given none it completes names of files.
    """
    rule, found = shell(["bash", "--norc", "-c", BASH], tmp_path).splitlines()
    assert rule == "complete -o default -o nospace -F _continual continual"
    assert found == "<run ><bottleneck ><method.reduction_factor=><runs/0a ><method=bottleneck >0"


ZSH = """
compdef() { print -r -- "compdef $@" }
_files() { print -r -- "files" }
compadd() {
    while [[ $1 != -- && $1 != -a ]]; do shift; done
    [[ $1 == -a ]] && print -r -- "open ${(P)2}" || print -r -- "whole ${@[2,-1]}"
}
eval "$(continual completion zsh)"
words=(continual run metho); CURRENT=3; _continual
words=(continual run method=bot); _continual
words=(continual nothing x); _continual
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_completes_whole_words_and_asks_for_files_where_it_knows_none(tmp_path: Path) -> None:
    lines = shell(["zsh", "-f", "-c", ZSH], tmp_path).splitlines()
    assert lines == [
        "compdef _continual continual",
        *("open method. method=", "whole "),
        *("open ", "whole method=bottleneck"),
        "files",
    ]
