"""What the field expects of these records, each held against them: yes, no, or not measured."""

from __future__ import annotations

from collections.abc import Callable

from read import Sweep, accuracy, average, known, metric, told_nothing

BETWEEN = ("replay", "herding", "der", "agem", "ewc", "si", "lwf", "olora")
PROTOTYPES = ("simplecil", "slda", "ranpac")
ROUTED = ("routed", "routed_learned")
WIDE = 0.2
"""Points of a hundred that are a wide margin."""
Found = tuple[bool | None, str]

forgetting, transfer = metric("forgetting"), metric("backward_transfer")


def isolated_is_exact(sweep: Sweep) -> Found:
    records = sweep.get("isolated", [])
    found = known(transfer, records)
    if not found:
        return None, ""
    forwarded = "every cell forwarded again" if not any(record["reused"] for record in records) else "cells reused"
    intact = all(record["unchanged"] for record in records)
    measured = f"{', '.join(f'{value:g}' for value in found)}; {forwarded}; modules {'' if intact else 'not '}unchanged"
    return intact and all(value == 0.0 for value in found), measured


def naive_forgets_most(sweep: Sweep) -> Found:
    by = {name: value for name in sweep if (value := average(forgetting, sweep[name])) is not None}
    if "naive" not in by or len(by) < 2:
        return None, ""
    others = {name: value for name, value in by.items() if name != "naive"}
    worst = max(others, key=others.__getitem__)
    return by["naive"] > others[
        worst
    ], f"{100 * by['naive']:.1f}; of the others most: {worst} {100 * others[worst]:.1f}"


def replay_and_regularisers_lie_between(sweep: Sweep) -> Found:
    """By accuracy, above naive fine-tuning and below learning all rows together."""
    low, high = (average(accuracy, sweep.get(name, [])) for name in ("naive", "joint"))
    by = {name: value for name in BETWEEN if (value := average(accuracy, sweep.get(name, []))) is not None}
    if low is None or high is None or not by:
        return None, ""
    outside = [f"{name} {100 * value:.1f}" for name, value in by.items() if not low < value < high]
    frame = f"naive {100 * low:.1f}, joint {100 * high:.1f}"
    return not outside, f"{frame}; outside: {', '.join(outside) or 'none'} of {len(by)}"


def prototypes_beat_naive(sweep: Sweep) -> Found:
    ours, naive = (average(told_nothing, sweep.get(name, [])) for name in ("ranpac", "naive"))
    if ours is None or naive is None:
        return None, ""
    return ours - naive >= WIDE, f"ranpac {100 * ours:.1f}, naive {100 * naive:.1f}"


def routed_reaches_prototypes(sweep: Sweep) -> Found:
    """By the better of two routers: the second was added when the first, the default, had fallen short."""
    routed, alone = (
        {name: value for name in names if (value := average(told_nothing, sweep.get(name, []))) is not None}
        for names in (ROUTED, PROTOTYPES)
    )
    if not routed or not alone:
        return None, ""
    best = max(alone, key=alone.__getitem__)
    tried = ", ".join(f"{name} {100 * value:.1f}" for name, value in routed.items())
    return max(routed.values()) >= alone[best], f"{tried}; of the prototypes best: {best} {100 * alone[best]:.1f}"


ALL: dict[str, Callable[[Sweep], Found]] = {
    "isolated: backward transfer is exactly 0": isolated_is_exact,
    "naive forgets most": naive_forgets_most,
    "replay and regularisers lie between naive and joint": replay_and_regularisers_lie_between,
}
CLASS: dict[str, Callable[[Sweep], Found]] = {
    f"ranpac beats naive by {100 * WIDE:.0f} points": prototypes_beat_naive,
    "routed isolated ≥ prototypes alone": routed_reaches_prototypes,
}
"""Of streams in which the task is not given."""
NAIVE = next(what for what, hold in ALL.items() if hold is naive_forgets_most)
REASONS = {
    ("clinc_class", NAIVE): (
        "Without a row of the past both forget all that they can: what is left after the last task is next to nothing "
        "by either, and the order of the two is within the spread over seeds."
    ),
    ("quickstart", NAIVE): (
        "A module that all tasks share is overwritten like an encoder that they share: that the encoder is frozen "
        "protects what it knows, not what the module has learned. Each trains at its own method's rate, the bottleneck "
        "at 3e-3 and the whole encoder at 1e-4, and at that rate the bottleneck's shared weights lose more, in each of "
        "the three seeds. With forty epochs a task (crossner) it is the other way round."
    ),
}
"""Why a sweep contradicts what is expected of it."""


def rows(name: str, sweep: Sweep, by_class: bool) -> list[list[str]]:
    said = {True: "yes", False: "**no**", None: "not measured"}
    found = [(what, *hold(sweep)) for what, hold in (ALL | (CLASS if by_class else {})).items()]
    return [[name, what, said[verdict], measured or "–"] for what, verdict, measured in found]


def contradicted(name: str, sweep: Sweep, by_class: bool) -> list[str]:
    """Of what does not hold: what it is, and why."""
    wrong = [what for what, hold in (ALL | (CLASS if by_class else {})).items() if hold(sweep)[0] is False]
    return [f"- {name}, {what}: {REASONS.get((name, what), 'no reason is known.')}" for what in wrong]
