"""The command line: which command it is, and how a command ends. Each is a file of ``continual/command/``."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from continual.errors import ContinualError, one_line

COMMANDS = ("run", "sweep", "compare", "dash", "board", "store", "orders", "completion")

USAGE = """\
continual: small modules on one frozen encoder: learned, stored, composed, measured

  continual run [group=option] [key=value] …   learn a stream of tasks                (continual run --help)
  continual run -m key=a,b …                   the same for every combination
  continual sweep                              list the sweeps that come with it
  continual sweep NAME [key=value] …           run each job of one that is not finished, and say how each ended
  continual dash [RUN_OR_FOLDER …]             all runs on one page of figures; --live: while they go on
  continual compare A B                        run A less run B, cell by cell, with paired tests on the same rows
  continual orders RUN [--orders N]            what a run of isolated modules had scored in other orders
  continual board BOARD                        a leaderboard: checked, ranked, written (new, add, verify, export)
  continual store [FOLDER]                     list the stored modules and verify each of them
  continual store merge RULE NAME NAME … --as NAME   one new module out of several, without training
  continual store import|export|push|pull …    exchange modules with peft, AdapterHub, the Hub       (… --help)
  eval "$(continual completion bash)"          groups, keys, runs and modules by Tab               (zsh likewise)
  continual --version

The first thing to type: continual run
"""


def main() -> None:
    """Exit codes: 0 all well; 1 an error to mend, or a run with failures; 2 a wrong command; 130 interrupted."""
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("--help", "-h", "help"):
        print(USAGE, end="")
    elif name == "--version":
        from importlib.metadata import version

        print(f"continual {version('continual-adapters')}")
    elif name in COMMANDS:
        try:
            sys.exit(import_module(f"continual.command.{name}").main(rest))
        except ContinualError as error:
            sys.exit(f"continual {name}: {one_line(str(error))}")
        except KeyboardInterrupt:
            print(f"continual {name}: interrupted; the same command goes on where it stopped", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        print(f"continual: no command {name!r}; choose from: {', '.join(COMMANDS)}\n\n{USAGE}", end="", file=sys.stderr)
        sys.exit(2)
