"""What each module of a run cost."""

from __future__ import annotations

from continual.report.draw import COLOURS, Figure, Shown, heading, label, layout, lines, spans
from continual.report.grid import plain
from continual.report.record import Record


def costs(record: Record) -> Shown:
    """Per stored module: trained parameters, bytes on disk, seconds of training."""
    modules = record.modules
    if not modules:
        return "This run stored no module."
    panels = {
        "trained parameters": [module.trainable for module in modules],
        "bytes on disk": [module.bytes for module in modules],
        "seconds": [round(module.seconds, 2) for module in modules],
    }
    # The stream is the same for all, and a name that is cut must not lose what tells it apart.
    axes = {"yaxis": lines([f"{label(module.task)} · {label(module.method)}" for module in modules])}
    data, titles = [], []
    for number, ((title, values), span) in enumerate(zip(panels.items(), spans(len(panels), 0.05), strict=True), 1):
        own = "" if number == 1 else str(number)
        axes[f"xaxis{own}"] = {"domain": span, "nticks": 4, "rangemode": "tozero", "zeroline": False}
        titles.append(heading(title, sum(span) / 2, 1))
        data.append(
            {
                "type": "bar",
                "x": values,
                "y": list(range(len(modules))),
                "xaxis": f"x{own}",
                "orientation": "h",
                "marker": {"color": COLOURS[0]},
                "texttemplate": "%{x:.3s}",
                "textposition": "auto",
                "hovertemplate": "%{x:,}<extra></extra>",
                "showlegend": False,
            }
        )
    rows = [
        (plain(module.name), plain(module.method), plain(module.task), *values)
        for module, *values in zip(modules, *panels.values(), strict=True)
    ]
    frame = {**layout(30 * len(modules) + 110, axes), "annotations": titles}
    return Figure(data, frame, 620, ("module", "method", "task", *panels), rows)
