"use strict";
// A figure on the page: drawn in the page's colours, saved as SVG, PNG and CSV, and read as a table.
// Names reach the page as text nodes, or inside figures, where Python has made them harmless.

const shown = new Map(); // of what is on the page now: name -> figure
let queue = Promise.resolve();
let waiting = 0;
let rested = 0;

const byId = id => document.getElementById(id);

function made(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function themed(layout, opaque) {
  const style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue(name).trim();
  const copy = structuredClone(layout);
  copy.font.color = colour("--ink");
  copy.hoverlabel = { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
  for (const key of Object.keys(copy).filter(key => /^[xy]axis/.test(key))) {
    copy[key].gridcolor = colour("--grid");
    copy[key].zerolinecolor = colour("--soft");
  }
  if (opaque) copy.paper_bgcolor = colour("--card");
  return copy;
}

// The page can be read and used meanwhile; but it is laid out at every rest, so not after each figure.
async function rest() {
  if (performance.now() - rested < 150) return;
  await new Promise(done => setTimeout(done));
  rested = performance.now();
}

// One after the other; one that fails is said on the console and stops no other. When all are drawn, the page says how
// many there are.
function enqueue(work) {
  waiting += 1;
  delete document.documentElement.dataset.drawn;
  queue = queue.then(rest).then(work).catch(error => console.error(error)).finally(() => {
    waiting -= 1;
    if (!waiting) document.documentElement.dataset.drawn = document.querySelectorAll(".js-plotly-plot").length;
  });
}

function draw(name) {
  const element = byId(`fig-${name}`);
  const figure = shown.get(name);
  if (!element || !figure) return;
  const config = { responsive: true, displayModeBar: false };
  return Plotly.react(element, structuredClone(figure.data), themed(figure.layout), config);
}

function enter(name, figure) {
  shown.set(name, figure);
  const element = byId(`fig-${name}`);
  const card = element.closest(".card");
  if (!card.querySelector(".tools")) card.append(tools(name, element.getAttribute("aria-label")));
  card.querySelector("details[open] .scroll")?.replaceWith(table(figure));
  enqueue(() => shown.get(name) === figure && draw(name));
}

function tools(name, heading) {
  const bar = made("div", "", { class: "tools" });
  for (const [kind, blob] of Object.entries(FORMATS)) {
    const button = made("button", kind, { type: "button", "aria-label": `${heading}: save as ${kind}` });
    button.addEventListener("click", async () => {
      save(await blob(name, shown.get(name)), `${fileName()}-${name}.${kind.toLowerCase()}`);
    });
    bar.append(button);
  }
  const numbers = made("details", "");
  numbers.append(made("summary", "Numbers as text"));
  numbers.addEventListener("toggle", () => {
    numbers.querySelector(".scroll")?.remove();
    if (numbers.open) numbers.append(table(shown.get(name)));
  });
  bar.append(numbers);
  return bar;
}

function table({ columns, rows }) {
  const scroll = made("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "numbers" });
  const grid = made("table", "");
  const cell = (tag, value) => made(tag, value ?? "–", typeof value === "number" ? { class: "n" } : {});
  const line = (tag, values) => {
    const row = made("tr", "");
    row.append(...values.map(value => cell(tag, value)));
    return row;
  };
  grid.append(line("th", columns), ...rows.map(values => line("td", values)));
  scroll.append(grid);
  return scroll;
}

const FORMATS = {
  SVG: async name => new Blob([await svg(name)], { type: "image/svg+xml" }),
  PNG: async name => png(await svg(name), byId(`fig-${name}`)),
  CSV: async (name, figure) => new Blob([csv(figure)], { type: "text/csv" }),
};

async function svg(name) {
  const element = byId(`fig-${name}`);
  const { data, layout } = shown.get(name);
  const size = { format: "svg", width: element.clientWidth, height: element.clientHeight };
  const url = await Plotly.toImage({ data: structuredClone(data), layout: themed(layout, true) }, size);
  return decodeURIComponent(url.slice(url.indexOf(",") + 1));
}

// At twice the size. From a data URL: the page's policy allows images of no other kind.
async function png(text, { clientWidth, clientHeight }) {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = made("canvas", "");
  [canvas.width, canvas.height] = [2 * clientWidth, 2 * clientHeight];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise(done => canvas.toBlob(done));
}

// RFC 4180; a text that a spreadsheet would take for a formula begins with an apostrophe.
function csv({ columns, rows }) {
  const field = value => {
    if (typeof value !== "string") return value ?? "";
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map(row => row.map(field).join(",") + "\r\n").join("");
}

function save(blob, name) {
  const link = made("a", "", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const fileName = () => document.title.replace(/[^\w.-]+/g, "-").slice(0, 60) || "figure";

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const name of shown.keys()) enqueue(() => draw(name));
});
