"""Everything: the missing records, then the page.

    python benchmarks/methods/run.py --adapters PYTHON          on a CPU: costs on MiniLM, and what is learned
    python benchmarks/methods/run.py --gpu                      on a GPU: costs and memory at BERT's sizes, and the same

What is in ``records/`` is kept, entry by entry; delete an entry to make it again. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
GPU = (
    ("cost.py", "bert-base", "--gpu"),
    ("cost.py", "bert-base", "--gpu", "--bf16"),
    ("cost.py", "bert-large", "--gpu", "--bf16"),
    ("memory.py", "bert-large", "--gpu"),
    ("quality.py", "--gpu"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--adapters", help="interpreter of an environment with AdapterHub's library")
    options = parser.parse_args()
    beside = ("--adapters", options.adapters) if options.adapters else ()
    for script, *arguments in GPU if options.gpu else (("cost.py", "minilm", *beside), ("quality.py",)):
        print("==", script, *arguments, flush=True)
        subprocess.run([sys.executable, str(HERE / script), *arguments], check=True)
    subprocess.run([sys.executable, str(HERE / "report.py")], check=True)


if __name__ == "__main__":
    main()
