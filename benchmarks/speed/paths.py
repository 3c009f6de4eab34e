"""Import this first: it puts benchmarks/methods and benchmarks/composition on the path, whose scripts are used here.

All import each other by their bare names; a script of this folder comes before one of theirs.
"""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("methods", "composition")]
