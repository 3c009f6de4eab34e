"""The page around a run's figures: style, script and skeleton. Text only; ``dashboard`` fills it in.

The script has no data in it, so that its digest can stand in the content security policy: names from a record reach
the page as escaped text or as JSON that no browser executes.
"""

from __future__ import annotations

from string import Template

STYLE = """
:root { color-scheme: light dark; --page: #f7f7f5; --card: #ffffff; --ink: #1d2126; --soft: #5d656e; --line: #e3e3df;
  --grid: #ececE8; --accent: #0b5fa5; --good: #1b6e4b; --bad: #a63d00; --note: #fdf3e4; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --ink: #e8eaec; --soft: #9aa4ae;
  --line: #2e343a; --grid: #2a3036; --accent: #7ab8ee; --good: #6fcfa3; --bad: #ffab7a; --note: #33291a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 48px 24px 72px; display: grid; gap: 24px;
  grid-template-columns: repeat(2, minmax(0, 1fr)); grid-auto-flow: dense; }
header, .wide { grid-column: 1 / -1; }
h1 { margin: 0; font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 16px; font-weight: 620; }
p { margin: 4px 0 0; }
.soft, .says { color: var(--soft); }
.says { font-size: 13px; max-width: 75ch; }
.lead { font-size: 17px; color: var(--soft); overflow-wrap: anywhere; }
.pill { display: inline-block; margin-bottom: 12px; padding: 1px 11px; border: 1px solid currentColor;
  border-radius: 99px; font-size: 13px; font-weight: 560; color: var(--good); }
.pill.bad { color: var(--bad); }
dl { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 24px 0 0; }
dt { font-size: 12px; color: var(--soft); }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.warnings { margin: 20px 0 0; padding: 12px 16px 12px 34px; border-radius: 10px; background: var(--note);
  overflow-wrap: anywhere; }
.tiles { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(186px, 1fr)); }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; }
.tile { padding: 16px 18px; }
.tile b { display: block; margin: 2px 0 4px; font-size: 32px; line-height: 1.2; font-weight: 620;
  letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.tile code { display: block; margin-top: 6px; font-size: 12px; color: var(--soft); overflow-wrap: anywhere; }
.lack { color: var(--bad); font-size: 13px; }
.card { padding: 20px 22px; min-width: 0; }
.scroll { overflow-x: auto; margin-top: 12px; }
.absent { color: var(--soft); margin-top: 12px; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin: 0 4px -1px 0; }
.own { background: #2f6fb0; }
.ncm { background: #b9b9b6; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12px; }
th, td { padding: 8px 20px 8px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 130px; }
tr:last-child td { border-bottom: 0; }
.n { text-align: right; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 12.5px; }
pre { margin: 12px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 560; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 860px) { main { grid-template-columns: minmax(0, 1fr); padding: 28px 14px 48px; gap: 16px; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; } .card { padding: 16px; }
  h1 { font-size: 25px; } .tile b { font-size: 27px; } }
@media print { body { background: none; } .card, .tile { break-inside: avoid; } }
"""

SCRIPT = """
"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue(name).trim();
  const copy = structuredClone(layout);
  copy.font.color = colour("--ink");
  copy.hoverlabel = { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
  for (const key of Object.keys(copy).filter(key => /^[xy]axis/.test(key))) {
    copy[key].gridcolor = colour("--grid");
    copy[key].zerolinecolor = colour("--soft");
  }
  return copy;
}

async function draw() {
  const config = { responsive: true, displayModeBar: false };
  for (const [id, figure] of Object.entries(figures)) {
    await Plotly.react(id, structuredClone(figure.data), themed(figure.layout), config);
  }
  document.documentElement.dataset.drawn = Object.keys(figures).length;
}

dark.addEventListener("change", draw);
draw();
"""

# Of each figure: heading, and what it shows. HTML, unlike the sentences of figures that are absent.
HEADINGS = {
    "matrix": (
        "Accuracy matrix",
        "R[i,j] in % of test rows: after task i (rows), on task j (columns). "
        '<span class="key own"></span>own module and head; <span class="key ncm"></span>~ not learned yet: nearest '
        "class mean on the features of the last module, or of the bare encoder in the first row.",
    ),
    "curves": (
        "Accuracy over the stream",
        "Each task after each step, with 95 % intervals: Wilson's for shares of rows, else a bootstrap. "
        "Open markers: not learned yet.",
    ),
    "transfer": (
        "Transfer per task",
        "In points. Backward, R[T−1,i] − R[i,i]: below zero, later tasks made it worse. Forward, "
        "R[i−1,i] − b<sub>i</sub> with b the row before any task: above zero, the features of earlier tasks help.",
    ),
    "gains": (
        "What composing gains",
        "Against the task's own single module and against a head alone on the bare encoder, same test rows; "
        "95 % intervals of a paired bootstrap.",
    ),
    "attention": (
        "Fusion attention",
        "Mean weight of each module in each layer, over the target's test tokens; a row sums to 1.",
    ),
    "gates": ("Gates", "Mean opening of each gate in each layer, over the target's test rows: 0 is shut, 1 is open."),
    "costs": ("Costs", "Of each stored module, the head included."),
}

# Plotly writes style elements at run time, hence style-src; no image is loaded but those that plotly makes itself.
POLICY = (
    "default-src 'none'; script-src $scripts; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
<script type="application/json" id="record">$record</script>
<script type="application/json" id="figures">$figures</script>
<script>$plotly</script>
<script>$script</script>
</body>
</html>
"""
)
