"""What the sections of the page share with that of benchmarks/methods.

Its ``report.py`` has the name of ours, so it is loaded by its file.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import methods  # noqa: F401

_spec = spec_from_file_location("methods_report", Path(__file__).resolve().parents[1] / "methods" / "report.py")
assert _spec is not None
assert _spec.loader is not None
_report = module_from_spec(_spec)
_spec.loader.exec_module(_report)

ratio, table, title = _report.ratio, _report.table, _report.title
