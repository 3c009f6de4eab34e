"""Memory that is kept is not faulted in again; what is imported is not searched for garbage."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from continual import allocator, grouped
from continual.trainer import Machine
from tests import running

CODE = """
import resource, sys
from continual import allocator
if sys.argv[1] == "kept":
    assert allocator.keep_memory()
if sys.argv[1] == "at once":
    assert allocator.keep_memory() and allocator.return_memory()  # as in a process of several jobs
import torch
def work():
    for _ in range(8):
        torch.ones(int(sys.argv[2]))
for _ in range(4):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(tmp_path: Path, how: str, numbers: int = 3 * 2**22) -> int:
    ended = running.python(CODE, tmp_path, how, str(numbers))
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


def test_a_large_tensor_made_again_faults_no_page_where_memory_is_kept(tmp_path: Path) -> None:
    if allocator.platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library than glibc")
    assert faults(tmp_path, "kept") < 1000
    assert faults(tmp_path, "given back") > 50_000


def test_a_tensor_of_some_megabytes_is_handed_back_where_memory_is(tmp_path: Path) -> None:
    if allocator.platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library than glibc")
    small = 2**21  # 8 MB, which glibc would keep
    assert faults(tmp_path, "at once", small) > 10_000
    assert faults(tmp_path, "left as it is", small) < 1000


def test_a_run_whose_layers_are_computed_again_hands_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for name in ("keep_memory", "return_memory"):
        monkeypatch.setattr(grouped, name, lambda name=name: said.append(name))
    for value in (False, True):
        made = SimpleNamespace(finished=True, machine=Machine(gradient_checkpointing=value))
        monkeypatch.setattr(grouped, "build", lambda *_, made=made: made)
        grouped.job_of(OmegaConf.create({}))
    grouped.prepare([])
    assert said == ["keep_memory", "return_memory", "keep_memory"]


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("it was changed"))
    assert not allocator.keep_memory()
    assert not allocator.return_memory()


IMPORTS = """
import gc
from continual.allocator import importing
def passes():
    return sum(generation["collections"] for generation in gc.get_stats())
before = passes()
with importing():
    kept = [[] for _ in range(100_000)]
print(passes() - before, gc.isenabled(), gc.get_freeze_count() > 100_000)
frozen, before = gc.get_freeze_count(), passes()
with importing():
    more = [[] for _ in range(100_000)]
print(passes() > before, gc.isenabled(), gc.get_freeze_count() == frozen)
"""


def test_the_collector_rests_while_a_process_imports_first_and_only_then(tmp_path: Path) -> None:
    ended = running.python(IMPORTS, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["0", "True", "True", "True", "True", "True"]


def test_a_collector_that_was_switched_off_stays_off() -> None:
    frozen = gc.get_freeze_count()
    gc.disable()
    try:
        with allocator.importing():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert gc.get_freeze_count() == frozen
