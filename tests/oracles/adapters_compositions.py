"""What `adapters` computes of several modules at once: its blocks over the members of `fusion_dynamic`.

One file a block in `compositions/`, outputs alone: the members are those of `fusion_dynamic`, tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from tests.oracles.adapters_tiny import both, fill, fresh, hidden, own

MEMBERS = {"one": 4, "two": 8, "three": 2}  # name -> reduction factor
LENGTHS = [4, 3, 2]  # of nine tokens
WEIGHTS = [0.5, 0.3, 0.2]
COOLED = 400  # forwards, after which a temperature of 50 is 30

WHAT = {
    "stack": "Stack of the three members: x = z + y; x = x + U_n f(D_n LN(x)) for each; out = LN(x)",
    "split": f"Split of the nine tokens among the three, {LENGTHS} each: the n-th stretch has the n-th member alone",
    "average": f"Average with the weights {WEIGHTS}. The library weights the outputs and takes their mean as well: "
    "`hidden` is with weights times three, not normalised, which gives the average; `hidden_default` is with the "
    "weights as they are, which gives a third of it",
    "fusion_temperature": "`fusion_dynamic` with `temperature=True`: `hidden` of the first forward (50), and "
    f"`hidden_cooled` after {COOLED} of them (30), in evaluation mode, where it falls too",
}


def members(out: Path) -> nn.Module:
    """The encoder with the three members, none active."""
    model = fresh(out)
    for member, factor in MEMBERS.items():
        model.add_adapter(member, config=f"seq_bn[reduction_factor={factor}]")
    fill(own(model, *(f".adapters.{member}." for member in MEMBERS)))
    return model


def record(out: Path) -> None:
    """Each of ``WHAT`` into its file."""
    from adapters.composition import Average, Split, Stack

    (out / "compositions").mkdir(exist_ok=True)
    thrice = [3 * weight for weight in WEIGHTS]
    blocks: dict[str, Callable[[], Any]] = {
        "stack": lambda: Stack(*MEMBERS),
        "split": lambda: Split(*MEMBERS, splits=LENGTHS),
        "average": lambda: Average(*MEMBERS, weights=thrice, normalize_weights=False),
    }
    for name, block in blocks.items():
        model = members(out)
        model.set_active_adapters(block())
        model.eval()
        expected = both(model)
        if name == "average":
            model.set_active_adapters(Average(*MEMBERS, weights=WEIGHTS))
            with torch.no_grad():
                expected["hidden_default"] = hidden(model)
        save_file(expected, out / "compositions" / f"{name}.safetensors")
    _temperature(out)


def _temperature(out: Path) -> None:
    from adapters import DynamicAdapterFusionConfig
    from adapters.composition import Fuse

    model = members(out)
    setup = Fuse(*MEMBERS)
    model.add_adapter_fusion(setup, DynamicAdapterFusionConfig(temperature=True))
    model.set_active_adapters(setup)
    model.eval()
    fill(own(model, "adapter_fusion_layer."))
    with torch.no_grad():
        expected = {"hidden": hidden(model)}
        for _ in range(COOLED - 1):
            hidden(model)
        expected["hidden_cooled"] = hidden(model)
    save_file(expected, out / "compositions" / "fusion_temperature.safetensors")
