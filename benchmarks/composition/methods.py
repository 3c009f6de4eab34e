"""Import this first: it puts benchmarks/methods on the path, whose scripts import each other by their bare names."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "methods"))
