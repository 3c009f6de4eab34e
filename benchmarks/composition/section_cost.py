"""The section of the page about what AdapterFusion costs: the records of ``cost.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from section_cost_targets import beside, targets
from tables import ratio, table, title

COUNTS = ("2", "4", "8", "16", "32")
NONE = "–"
WHAT = (
    "Ours is a training by `continual.trainer.learn`, whose frozen encoder is in evaluation mode. `adapters` is timed "
    "twice: as its trainer trains, with the encoder's dropout of 0.1, which falls on the fusion's scores too, and "
    "with all dropout off. Each computes in a process of its own, in turn. Times are in milliseconds. Where a step's "
    "or a forward's ratio to `adapters` is missed on a CPU, ours is near the encoder alone, whose products take as "
    "long on both sides: what is left to win is bfloat16's, in which ours stands beside theirs as it comes, in "
    "float32, too."
)


def section(records: Mapping[str, Any]) -> list[str]:
    parts = ["## AdapterFusion's cost beside `adapters`", WHAT]
    if not records:
        return [*parts, "Not measured yet (`python benchmarks/composition/cost.py minilm --adapters PYTHON`)."]
    for name, record in records.items():
        rows = _rows(record)
        alike = records.get(name.replace("bf16-mixed", "32-true"), {"rows": {}})
        plain = _rows(alike) if "CPU" in record["machine"]["device"] else None
        parts += [f"### {title(record)}", setting(record), steps(rows), forwards(rows, record["setting"]["batch"])]
        parts += [
            memory(rows),
            agreement(rows),
            "Our own targets:",
            targets(rows, record["setting"]["precision"], plain),
        ]
    return parts


def _rows(record: Mapping[str, Any]) -> dict[str, Any]:
    return {count: record["rows"][count] for count in COUNTS if count in record["rows"]}


def setting(record: Mapping[str, Any]) -> str:
    said, machine = record["setting"], record["machine"]
    ours = ", ".join(f"{name} {machine['versions'][name]}" for name in ("torch", "transformers"))
    peer = next(iter(record["rows"].values()))["peer"]
    theirs = ", ".join(f"{name} {number}" for name, number in peer.items())
    return (
        f"{machine['device']}, {machine['threads']} threads; {ours}; beside it {theirs}. {said['parameters']:,} "
        f"parameters; Pfeiffer adapters, reduction factor 16; {said['batch']} texts of up to {said['tokens']} tokens."
    )


def steps(rows: Mapping[str, Any]) -> str:
    head = ["N, training step", "ours", "`adapters`", "÷ ours", "`adapters`, no dropout", "÷ ours", "direct ÷ ours"]
    body = []
    for count, row in rows.items():
        step, direct = row["step"], row["step_direct"]
        cells = [ms(step["ours"]), ms(step["adapters"]), ratio(step["adapters"], step["ours"])[1]]
        cells += [ms(step["still"]), ratio(step["still"], step["ours"])[1]]
        body.append([count, *cells, ratio(direct["direct"], direct["ours"])[1]])
    if (last := rows.get("32")) and "two" in last["step"]:
        grown = [_growth(rows, name) for name in ("adapters", "still")]
        own = ratio(last["step"]["ours"], last["step"]["two"])[1]
        body.append(["32 over 2", own, grown[0], "", grown[1], "", ""])
    return table(head, body)


def forwards(rows: Mapping[str, Any], batch: int) -> str:
    head = [f"N, forward of {batch}", "encoder alone", "ours", "`adapters`", "÷ ours", "direct ÷ ours"]
    head += (
        ["ours as a CUDA graph", "`adapters` ÷ it"] if any("graph" in row["forward"] for row in rows.values()) else []
    )
    graphs = len(head) > 6
    head += ["pruned to 2", "ours ÷ pruned", "direct ÷ pruned", "`adapters` ÷ pruned"]
    body = []
    for count, row in rows.items():
        took = row["forward"]
        cells = [ms(took["bare"]), ms(took["ours"]), ms(took["adapters"]), ratio(took["adapters"], took["ours"])[1]]
        cells.append(ratio(took["direct"], took["ours"])[1])
        if graphs:
            graph = took.get("graph")
            cells += [ms(graph), ratio(took["adapters"], graph)[1]] if graph else [NONE, NONE]
        if pruned := took.get("pruned"):
            cells += [ms(pruned), *(ratio(took[name], pruned)[1] for name in ("ours", "direct", "adapters"))]
        body.append([count, *cells, *[""] * (len(head) - 1 - len(cells))])
    return table(head, body)


def memory(rows: Mapping[str, Any]) -> str:
    """Beside what is resident, or given out on the card, when encoder, modules and fusion are loaded."""
    head = ["N, MB that training needs beside the loaded model", "ours", "`adapters`", "ours ÷ `adapters`"]
    head += ["`adapters`, no dropout", "ours ÷ it", "direct"]
    body = []
    for count, row in rows.items():
        ours, theirs, still = (beside(row["memory"][name]) for name in ("ours", "adapters", "still"))
        cells = [f"{theirs / 1e6:.0f}", f"{ours / theirs:.2f}", f"{still / 1e6:.0f}", f"{ours / still:.2f}"]
        body.append([count, f"{ours / 1e6:.0f}", *cells, f"{beside(row['memory_direct']) / 1e6:.0f}"])
    return table(head, body)


def agreement(rows: Mapping[str, Any]) -> str:
    head = ["N, relative difference in float32", "`adapters`: outputs", "gradients", "direct: outputs", "gradients"]
    head.append("largest of any output")
    body = []
    for count, row in rows.items():
        pair = [row[which][what] for which in ("agreement", "direct") for what in ("output", "gradient")]
        body.append([count, *(f"{value:.1e}" for value in [*pair, row["direct"]["largest"]])])
    return table(head, body)


def ms(seconds: Sequence[float]) -> str:
    found = 1e3 * median(seconds)
    return f"{found:.0f}" if found >= 100 else f"{found:.1f}"


def _growth(rows: Mapping[str, Any], name: str) -> str:
    """Of medians: theirs was not timed in turn with itself."""
    if "2" not in rows:
        return NONE
    return f"{median(rows['32']['step'][name]) / median(rows['2']['step'][name]):.2f}"
