// The difference mode: the accuracy matrix of one run less that of another, where both have the same tasks by name.
// Rows are matched by what had been learned, so runs in other orders share at least the first row and the last.

const SIGNS = [[0, "#D55E00"], [0.5, "#f4f4f2"], [1, "#0072B2"]];

// A figure, or the sentence that says why there is none.
function difference(a, b) {
  const only = (one, other) => one.tasks.filter(task => !other.tasks.includes(task));
  const lacks = [["A", only(a, b)], ["B", only(b, a)]].filter(([, tasks]) => tasks.length);
  if (lacks.length) {
    return `These runs have other tasks. ${lacks.map(([name, tasks]) => `Only ${name} has ${tasks.join(", ")}.`).join(" ")}`;
  }
  const learned = ({ tasks }, row) => JSON.stringify(tasks.slice(0, row).sort());
  const rows = new Map(b.scores.map((_, row) => [learned(b, row), row]));
  const matched = a.scores.map((_, row) => [row, rows.get(learned(a, row))]).filter(([, row]) => row !== undefined);
  const column = a.tasks.map(task => b.tasks.indexOf(task));
  const less = (x, y) => x === null || y === null ? null : x - y;
  const z = matched.map(([i, k]) => a.scores[i].map((score, j) => less(score, b.scores[k][column[j]])));
  if (!z.flat().some(value => value !== null)) return "No cell has a score in both runs.";
  return mapped(a, matched.map(([i]) => i), z);
}

function mapped(a, rows, z) {
  const most = Math.max(0.1, ...z.flat().map(value => Math.abs(value ?? 0)));
  const moments = ["before any", ...a.labels.map(name => `after ${name}`)];
  const text = z.map(row => row.map(value => value === null ? "–" : signed(value)));
  const names = { tickvals: a.tasks.map((_, j) => j), ticktext: a.labels, showgrid: false, zeroline: false };
  const axis = { automargin: true, fixedrange: true, ticks: "", ticklabelstandoff: 6 };
  return {
    data: [{
      type: "heatmap", z, text, texttemplate: "%{text}", hoverinfo: "text", colorscale: SIGNS, zmin: -most, zmax: most,
      showscale: false, xgap: 2, ygap: 2,
    }],
    layout: {
      ...a.frame,
      height: 44 * rows.length + 90,
      xaxis: { ...axis, ...names, side: "top", autotickangles: [0, 35, 90] },
      yaxis: {
        ...axis, tickvals: rows.map((_, i) => i), ticktext: rows.map(i => moments[i]), range: [rows.length - 0.5, -0.5],
        showgrid: false, zeroline: false,
      },
    },
    columns: ["after", "task", "A minus B"],
    rows: z.flatMap((row, i) => row.map((value, j) => {
      const after = rows[i] ? `after ${a.tasks[rows[i] - 1]}` : "before any task";
      return [after, a.tasks[j], value === null ? null : Math.round(1000 * value) / 1000];
    })),
    says: rows.length < a.scores.length
      ? `The runs have other orders: of ${a.scores.length} rows these ${rows.length} had the same tasks learned.` : "",
  };
}

const signed = value => {
  const rounded = Math.round(10 * value) / 10;
  return (rounded > 0 ? "+" : rounded < 0 ? "−" : "") + Math.abs(rounded).toFixed(1);
};
