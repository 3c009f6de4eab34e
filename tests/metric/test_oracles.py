"""Against the formulas as papers and frameworks print them, written out in loops, on random matrices.

R[i][j] is the score on task j after task i, b the row before training, n the test rows, alone[j] and joint[k][j] the
references. ``tests/metric/test_peers.py`` calls the frameworks' own functions, where they are installed.
"""

from __future__ import annotations

import random

import pytest

from continual.metric.base import from_matrix, measure, metrics


def gem_acc(R, T, **_):  # Lopez-Paz & Ranzato 2017, eq. 2
    return sum(R[T - 1]) / T


def gem_bwt(R, T, **_):  # eq. 3
    return sum(R[T - 1][i] - R[i][i] for i in range(T - 1)) / (T - 1)


def gem_fwt(R, T, b, **_):  # eq. 4
    return sum(R[i - 1][i] - b[i] for i in range(1, T)) / (T - 1)


def gem_fwt_without_b(R, T, **_):
    return sum(R[i - 1][i] for i in range(1, T)) / (T - 1)


def rows_right(R, T, n, **_):  # PILOT's total, Renate's micro average: right rows over rows
    return sum(n[j] * R[T - 1][j] for j in range(T)) / sum(n)


def pilot_aia(R, T, n, **_):  # its curve of totals, averaged; not rounded
    curve = [sum(n[j] * R[t][j] for j in range(t + 1)) / sum(n[: t + 1]) for t in range(T)]
    return sum(curve) / T


def icarl_aia(R, T, **_):
    return sum(sum(R[t][: t + 1]) / (t + 1) for t in range(T)) / T


def area(R, T, **_):  # of the straight lines between the points (t, mean over seen tasks), step by step
    curve, steps = [sum(R[t][: t + 1]) / (t + 1) for t in range(T)], 64
    heights = [
        curve[t] + (curve[t + 1] - curve[t]) * (step + 0.5) / steps for t in range(T - 1) for step in range(steps)
    ]
    return sum(heights) / len(heights)


def diaz_a(R, T, **_):  # Díaz-Rodríguez et al. 2018
    return sum(R[i][j] for i in range(T) for j in range(T) if i >= j) / (T * (T + 1) / 2)


def diaz_bwt(R, T, **_):
    return sum(R[i][j] - R[j][j] for i in range(1, T) for j in range(i)) / (T * (T - 1) / 2)


def diaz_positive(**m):
    return max(diaz_bwt(**m), 0)


def diaz_remembering(**m):
    return 1 - abs(min(diaz_bwt(**m), 0))


def diaz_fwt(R, T, **_):
    return sum(R[i][j] for i in range(T) for j in range(T) if i < j) / (T * (T - 1) / 2)


def mer_la(R, T, **_):  # Riemer et al. 2019
    return sum(R[i][i] for i in range(T)) / T


def synergy_s(R, T, **_):  # Sarfraz et al. 2022
    return sum(R[T - 1][: T - 1]) / (T - 1)


def synergy_tradeoff(**m):
    s, p = synergy_s(**m), mer_la(**m)
    return 2 * s * p / (s + p)


def fusionbench_bwt(R, T, **_):  # over the dictionary of all tasks
    last, first = {k: R[T - 1][k] for k in range(T)}, {k: R[k][k] for k in range(T)}
    return sum(last[k] - first[k] for k in first) / len(first)


def avalanche_forgetting(R, T, **_):  # per task first less last, of tasks seen before the last
    first, last = {}, {}
    for i in range(T):
        for j in range(i + 1):
            (last if j in first else first)[j] = R[i][j]
    return sum(first[j] - last[j] for j in last) / len(last)


def chaudhry(R, T, **_):  # Chaudhry et al. 2018, eq. 3 with k = T
    return sum(max(R[i][j] for i in range(T - 1) if i >= j) - R[T - 1][j] for j in range(T - 1)) / (T - 1)


def mammoth_forgetting(R, T, **_):  # lower triangle padded with zeros, maximum of the whole column
    padded = [[R[i][j] if j <= i else 0.0 for j in range(T)] for i in range(T)]
    return sum(max(row[j] for row in padded) - padded[T - 1][j] for j in range(T - 1)) / (T - 1)


def min_acc(R, T, **_):  # De Lange et al. 2023, tracked along the stream: a task's minimum begins after its own stage
    lowest = {}
    for i in range(T):
        for j in range(i):
            lowest[j] = min(lowest.get(j, 1.0), R[i][j])
    return sum(lowest.values()) / (T - 1)


def wc_acc(R, T, **m):
    return R[T - 1][T - 1] / T + (1 - 1 / T) * min_acc(R, T)


def clarena_fwt(R, T, alone, **_):
    return sum(R[t][t] - alone[t] for t in range(1, T)) / (T - 1)


def clarena_fr(R, T, b, joint, **_):
    return sum((R[T - 1][t] - b[t]) / (joint[T - 1][t] - b[t]) for t in range(T)) / T - 1


def chaudhry_intransigence(R, T, joint, **_):  # I_k, over all k
    return sum(joint[k][k] - R[k][k] for k in range(T)) / T


def tpl_f_cil(R, T, joint, **_):  # Lin et al. 2024, appendix C.2, t = T
    return sum(joint[T - 1][i] - R[T - 1][i] for i in range(T)) / T


def amca(R, T, C, **_):  # of classes that are alike within a task
    stages = [[R[t][j] for j in range(t + 1) for _ in range(C[j])] for t in range(T)]
    return sum(sum(stage) / len(stage) for stage in stages) / T


ORACLES = {
    "average_accuracy": gem_acc,
    "micro_average_accuracy": rows_right,
    "triangle_accuracy": diaz_a,
    "average_incremental_accuracy_macro": icarl_aia,
    "average_incremental_accuracy_micro": pilot_aia,
    "average_mean_class_accuracy": amca,
    "area_under_curve": area,
    "learning_accuracy": mer_la,
    "plasticity": mer_la,
    "stability": synergy_s,
    "stability_plasticity": synergy_tradeoff,
    "minimum_accuracy": min_acc,
    "worst_case_accuracy": wc_acc,
    "backward_transfer": gem_bwt,
    "backward_transfer_over_tasks": fusionbench_bwt,
    "backward_transfer_all_pairs": diaz_bwt,
    "positive_backward_transfer": diaz_positive,
    "remembering": diaz_remembering,
    "forgetting": chaudhry,
    "forgetting_with_last": mammoth_forgetting,
    "forgetting_from_first": avalanche_forgetting,
    "forward_transfer": gem_fwt,
    "forward_transfer_without_baseline": gem_fwt_without_b,
    "forward_transfer_all_pairs": diaz_fwt,
    "forward_transfer_over_single": clarena_fwt,
    "intransigence": chaudhry_intransigence,
    "rectified_forgetting": tpl_f_cil,
    "forgetting_rate": clarena_fr,
}


def drawn(rng: random.Random):
    tasks = rng.randint(2, 7)

    def table():
        return [[rng.random() for _ in range(tasks)] for _ in range(tasks)]

    counts = [rng.randint(1, 2000) for _ in range(tasks)]
    classes = [rng.randint(2, 20) for _ in range(tasks)]
    tables = {"R": table(), "joint": table(), "b": table()[0], "alone": table()[0]}
    return {"T": tasks, **tables, "n": counts, "C": classes}


def test_every_metric_has_an_oracle():
    assert set(ORACLES) == set(metrics())


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_metrics_equal_the_published_formulas_on_random_matrices(count):
    rng = random.Random(count)
    for _ in range(count):
        m = drawn(rng)
        got = measure(from_matrix(m["R"], m["b"], m["n"], m["alone"], m["joint"], m["C"]))
        for name, oracle in ORACLES.items():
            assert got[name].value == pytest.approx(oracle(**m), rel=1e-9, abs=1e-9), name
            assert got[name].missing == 0
