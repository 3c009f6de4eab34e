"""Without Hydra and without a command: what a notebook uses."""

from __future__ import annotations

from pathlib import Path

import pytest

import continual
from tests import running

SNIPPET = """
import continual as c
from continual.task_streams import toy

parts = c.Parts(
    encoder=c.load("encoder"),
    stream=c.Stream("toy", tuple(toy.tasks(count=2, train=32, valid=8, test=16))),
    method=c.LoRA(rank=4),
    compositions=(c.Fusion(),),
    recipe=c.Recipe(epochs=1),
)
record = c.run_stream(parts)
c.show(record)
entry = c.Store("store").get("toy.toy-0.lora")
print(sorted(entry.head), record.gains[0].composition)
"""


@pytest.mark.parametrize("name", dir(continual))
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(continual, name)
    assert value.__name__ == name
    assert value.__doc__
    assert value.__module__.startswith("continual.")


def test_names_for_type_checkers_are_the_names() -> None:
    source = Path(continual.__file__).read_text(encoding="utf-8")
    typed = [line.split(" as ")[1] for line in source.splitlines() if line.startswith("    from ")]
    assert sorted(typed) == dir(continual)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Adaptor'"):
        continual.Adaptor  # noqa: B018


def test_importing_it_imports_nothing(tmp_path: Path) -> None:
    code = "import sys, continual; print([m for m in ('torch', 'transformers', 'hydra', 'wandb') if m in sys.modules])"
    assert running.python(code, tmp_path).stdout == "[]\n"


def test_fifteen_lines_are_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(SNIPPET.strip().splitlines()) <= 15
    running.saved_encoder(tmp_path / "encoder")
    monkeypatch.chdir(tmp_path)
    exec(SNIPPET, {})
    shown = capsys.readouterr()
    assert "after toy-1" in shown.out
    assert shown.out.endswith("['bias', 'weight'] fusion\n")
    assert "learn 2/2 toy-1" in shown.err
