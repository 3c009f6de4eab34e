"""The sections of the page: a record's tables, and its targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import section_stream
from shown import NONE, Target, apart, ms, ratio, table, targets

Record = Mapping[str, Any]
KINDS = {"lora": "LoRA", "bottleneck": "bottleneck"}
DONE = {"add": "adding all", "switch": "switching", "load": "loading one more from disk", "forward": "a forward"}
MIB = 2**20


@dataclass(frozen=True)
class Section:
    """why: of what is missed"""

    title: str
    what: str
    tables: Callable[[Record], list[str]]
    why: str = ""


def registry(record: Record) -> list[str]:
    parts, judged = [], []
    for kind, row in record["rows"].items():
        head = [KINDS[kind], "ours", "ours in other ways", "`peft`", "÷ ours", "`adapters`", "÷ ours"]
        body = []
        for what, done in DONE.items():
            found = row[what]
            others = [(name.removeprefix("ours, "), ms(s)) for name, s in found.items() if name.startswith("ours,")]
            others += [(name, ms(found[name])) for name in ("bare",) if name in found]
            line = [done, ms(found["ours"]), "; ".join(f"{name} {time}" for name, time in others)]
            for peer in ("peft", "adapters"):
                line += [ms(found.get(peer)), ratio(found.get(peer), found["ours"])[1]]
            body.append(line)
        parts.append(table(head, body))
        for what, most in (("add", 100), ("switch", 0.1), ("load", 5)):
            time = 1e3 * median(row[what]["ours"])
            judged.append(
                Target(f"{KINDS[kind]}: {DONE[what]}", time, f"{ms(row[what]['ours'])} ms", most, False, " ms")
            )
    return [*parts, targets(judged), apart(record)]


def latency(record: Record) -> list[str]:
    found = record["rows"]["bottleneck"]["forward"]
    sides = {"ours": "bare", "adapters": "bare there"}
    body, judged = [], []
    for side, bare in sides.items():
        value, text = ratio(found.get(side), found.get(bare), over=True)
        body.append([side, ms(found.get(bare)), ms(found.get(side)), text])
        if side == "ours":
            judged.append(Target("ours over the bare encoder", value, text, 5, False, " %"))
    return [table(["", "bare encoder", "with a bottleneck", "over it"], body), targets(judged), apart(record)]


def peak(record: Record) -> list[str]:
    memory = record["rows"]["bottleneck"]["memory"]
    need = {side: median(one["peak"] - one["loaded"] for one in found) / MIB for side, found in memory.items()}
    steps = {side: [one["step"] for one in found if "step" in one] for side, found in memory.items()}
    body = [[side, f"{mib:.0f}", f"{mib / need['ours']:.2f}", ms(steps[side])] for side, mib in need.items()]
    kept = ("ours, layers 3-", "ours, layers 3-, merged", "ours, layers 3-, recomputed")
    most = {"ours": 800, **dict.fromkeys(kept, 350)}
    judged = [Target(k, need[k], f"{need[k]:.0f} MiB", m, False, " MiB") for k, m in most.items() if k in need]
    return [table(["", "MiB beside the loaded model", "÷ ours", "a step"], body), targets(judged), apart(record)]


def drop(record: Record) -> list[str]:
    head = ["a step", "ours", "what is kept, once", "`adapters`", "÷ ours", "÷ ours, 3 epochs", "no dropout", "÷ ours"]
    body, judged = [], []
    for case, row in record["rows"].items():
        step, below = row["step"], row.get("below")
        theirs, still = step.get("adapters"), step.get("adapters, no dropout")
        value, text = ratio(theirs, step["ours"])
        line = [case, ms(step["ours"]), ms(below), ms(theirs), text, _epochs(theirs, step["ours"], below, 3)]
        body.append([*line, ms(still), ratio(still, step["ours"])[1]])
        if case == "fp32":
            judged.append(Target("float32: `adapters` ÷ ours", value, text, 2.5, True))
        if case == "bf16" and (whole := record["rows"].get("fp32", {}).get("step", {}).get("adapters")):
            value, text = ratio([median(whole)], [median(step["ours"])])
            judged.append(Target("`adapters` in float32 ÷ ours in bfloat16", value, text, 3.5, True))
    return [table(head, body), targets(judged), apart(record)]


GROUPED = {
    "minilm 16x64": {1: 10, 8: 35, 32: 45},
    "bert-base 16x64": {1: 9, 8: 22, 32: 25},
    "bert-base 32x128": {1: 5, 8: 6},
}
"""How many times as fast as `peft` a step and module must be, by how many train at once."""


def grouped(record: Record) -> list[str]:
    head = ["N modules, ms a step and module", "ours", "launched", "`peft`", "÷ ours", "must", "met"]
    head += ["GB/s and TFLOP/s needed", "of the peaks"]
    body, judged = [], []
    for key, row in record["rows"].items():
        case, method, count = key.rsplit(" ", 2)
        step, work, peaks = row["step"], row["work"], row["peaks"]
        value, text = ratio(step["peft"], step["ours"])
        must, seconds = GROUPED[case][int(count)], median(step["ours"]) * int(count)
        rates = {name: work[name] / seconds for name in ("bytes", "flops")}
        need = f"{rates['bytes'] / 1e9:,.0f}, {rates['flops'] / 1e12:.0f}"
        share = ", ".join(f"{100 * rates[name] / peaks[name]:.0f} %" for name in ("bytes", "flops"))
        met = "yes" if value is not None and value >= must else "**missed**"
        line = [f"{case.replace('x', '×')}, {method}, N = {count}", ms(step["ours"]), ms(step["ours, launched"])]
        body.append([*line, ms(step["peft"]), text, f"≥ {must}", met, need, share])
        if case == "bert-base 16x64" and count == "32":
            near = 100 * rates["flops"] / peaks["flops"]
            judged.append(Target(f"{method}: of the measured peak of products", near, f"{near:.0f} %", 45, True, " %"))
    for case, must in (("minilm 16x64", 3.0), ("bert-base 16x64", 2.0)):
        for method in KINDS:
            one, all_ = (record["rows"].get(f"{case} {method} {count}") for count in (1, 32))
            if one and all_:
                own = ratio(one["step"]["ours"], all_["step"]["ours"])
                what = f"{case.replace('x', '×')}, {method}: 32 one after another ÷ 32 at once, both as graphs"
                judged.append(Target(what, *own, must, True))
    peaks = next(iter(record["rows"].values()))["peaks"]
    said = (
        f"Peaks, measured: {peaks['flops'] / 1e12:.0f} TFLOP/s in a bfloat16 product, {peaks['bytes'] / 1e12:.1f} TB/s."
    )
    return [said, table(head, body), targets(judged), apart_of(record)]


def apart_of(record: Record) -> str:
    worst = max(row["apart"]["ours"]["module"] for row in record["rows"].values())
    return f"A group ended no further than {100 * worst:.2f} % of its way from where its members end alone (float32)."


def dealt(record: Record) -> list[str]:
    many = record["setting"]["modules"]
    head = [f"{many} modules", "steps of each", "one card, s", "two cards, s", "one ÷ two"]
    head += ["a step on the first card, ms", "beside the other", "alone ÷ beside"]
    body, judged = [], []
    for case, row in record["rows"].items():
        whole, step = row["seconds"], row["step"]
        value, text = ratio(whole["one"], whole["two"])
        seconds = [f"{median(whole[side]):.2f}" for side in ("one", "two")]
        steps = [ms(step["one"]), ms(step["two"]), ratio(step["one"], step["two"])[1]]
        body.append([case.replace("x", "×"), str(row["steps"]), *seconds, text, *steps])
        judged.append(Target(f"{case.replace('x', '×')}: one card ÷ two", value, text, 1.9, True))
    worst = max(row["apart"]["ours"]["module"] for row in record["rows"].values())
    said = f"Modules of two cards ended no further than {100 * worst:.2f} % of their way from those of one (float32)."
    return [table(head, body), targets(judged), said]


def routed(record: Record) -> list[str]:
    head = ["ms a batch", "ours", "as a graph", "bare encoder", "as a graph", "ours ÷ bare, graphs"]
    head += ["nothing loaded, graph", "ours ÷ that", "`peft`", "÷ ours"]
    body, judged, rows = [], [], record["rows"]
    for key, row in rows.items():
        took = row["forward"]
        value, text = ratio(took["ours, graph"], took["bare, graph"])
        theirs, said = ratio([median(took["peft"])] if "peft" in took else None, [median(took["ours, graph"])])
        line = [ms(took[name]) for name in ("ours", "ours, graph", "bare", "bare, graph")]
        empty = took.get("nothing loaded, graph")
        none = ratio(took["ours, graph"], empty)[1] if empty else NONE
        body.append([key, *line, text, ms(empty), none, ms(took.get("peft")), said])
        if "64 rows, 64 modules" in key:
            judged.append(Target(f"{key}: ours ÷ bare, as graphs", value, text, 1.5, False))
            if theirs is not None:
                judged.append(Target(f"{key}: `peft` ÷ ours", theirs, said, 60, True))
    few, many = (rows.get(f"lora, 64 rows, {count} modules") for count in (64, 1000))
    if few and many:
        kept = ratio([median(few["forward"]["ours, graph"])], [median(many["forward"]["ours, graph"])])
        judged.append(Target("throughput at 1,000 modules ÷ at 64", *kept, 0.9, True))
    return [table(head, body), targets(judged), apart(record)]


def _epochs(theirs: list[float] | None, ours: list[float], below: list[float] | None, epochs: int) -> str:
    """Of medians: the states are computed once, the steps are made in each epoch."""
    if theirs is None:
        return NONE
    return f"{epochs * median(theirs) / (epochs * median(ours) + median(below or [0.0])):.2f}"


SECTIONS = {
    "registry": Section(
        "Many modules on one encoder",
        "Modules added to a loaded encoder, one chosen for the next text, one more loaded from disk while all "
        "stay. Ours has them all in one stack, where a batch says whose its rows are: *switching* is that tensor. "
        "Adding takes tensors that are in memory (*drawn too*: with their initial values drawn, which the "
        "libraries' `add_adapter` does; *one by one*: the stack is made anew for each). Loading one more reads and "
        "verifies it and makes the whole stack anew; *loaded alone* is what a user of one module at a time does: "
        "it takes the place of what was loaded.",
        registry,
    ),
    "stream": Section(
        "A stream of tasks",
        "Whole processes: quickstart; on a GPU CLINC150's ten domains, and a fusion of all for the first one by ours "
        "and `adapters` (`peft` has none, and what is held against it makes none). `adapters` and `peft` learn by "
        "their users' trainer with its defaults; *our batches, bf16*: given our batches and bfloat16 products. Ours "
        "also reads and cleans the corpora, proves that nothing stored has moved, and writes record and page; theirs "
        "find texts and labels in a file.",
        section_stream.tables,
        "In float32 on a CPU the frozen encoder's products take as long here as there, and are nearly all of a step; "
        "what is won are batches of similar lengths. On a GPU the libraries' time is that of their steps, which are "
        "launched kernel by kernel, one module after the other, so the ratio grows with the steps; of ours what does "
        "not grow with them is most: packages imported and texts read (more than half of a process's seconds), graphs "
        "captured, modules stored, proven and scored. Seven more epochs of ten LoRAs took ours one second, and `peft` "
        "a minute.",
    ),
    "grouped": Section(
        "Modules trained at once",
        "A step of a training through Lightning, with batches made, moved and all, a module's share of it: N modules "
        "at once, forward to AdamW one CUDA graph; *launched*: without graphs. `peft` trains one LoRA by a plain loop "
        "whose batch lies on the card. Needed: what a step cannot do without (`grouped.py:work`), over its time.",
        grouped,
        "Less than half of such a step is products, and these are near their peak. The rest moves states through "
        "memory in kernels of their own: attention, norms, residual sums and GELU, forward and backward. Layers "
        "compiled by torch (fused norms and sums) came a few percent nearer, and took longer to compile than a short "
        "training takes.",
    ),
    "dealt": Section(
        "A grouped stream on two GPUs",
        "The modules of a stream, 32 at once on a card, with bfloat16 products: on one card, and dealt over two of one "
        "host (`trainer.devices=2`), by one process. Seconds from the first request to the last module, all included.",
        dealt,
    ),
    "routed": Section(
        "A batch of many modules",
        "BERT-base, texts of up to 64 tokens, each answered by another module; bfloat16 products. The bare encoder, and"
        " that in `peft`, read under autocast, which leaves norms and the states between layers in float32; *nothing "
        "loaded*: ours with no module, which has both in bfloat16 too.",
        routed,
    ),
    "latency": Section(
        "One text",
        "A forward of one text of 64 tokens with one bottleneck, against the bare encoder in the same environment.",
        latency,
    ),
    "peak": Section(
        "Memory of training",
        "The largest resident size while a bottleneck is trained, less that of the loaded model, in fresh processes, "
        "and a step's milliseconds. *layers 3-*: in the upper half of the layers, on kept states. *recomputed*: "
        "`trainer.gradient_checkpointing=true`, which on a CPU hands each large tensor's memory back at once, too.",
        peak,
        "On kept states two thirds of the peak are tensors of the upper layers' step. The rest are holes in glibc's "
        "heap that no tensor of the same size fits into again (its bug 30723, in glibc before 2.39); *merged*: the "
        "process is started with two of its tunables (`peak.py:MERGED`), under which they close. *recomputed* has "
        "none.",
    ),
    "drop": Section(
        "Layers left out below",
        "A training step of a bottleneck in the upper three of six layers. Ours reads the states below it, which are "
        "computed once; *nothing kept*: they are computed in every step. `adapters` in the same precision, with the "
        "encoder's dropout, as its trainer leaves it, and without.",
        drop,
    ),
}
