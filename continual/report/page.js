// What is on the page: one run, or the stream and the run that are picked, and what a live page adds while runs go on.
// What is picked stands in the address after #, so a link, and a page that was loaded again, show the same.

const root = document.documentElement;
const parsed = new Map();
const pickers = ["stream", "run", "with"].map(byId);

// Parsed when it is first shown: a page of a hundred runs opens as fast as one of three.
function island(key) {
  if (!parsed.has(key)) parsed.set(key, JSON.parse(byId(key).textContent));
  return parsed.get(key);
}

function show(host, key) {
  const template = byId(`body-${key}`);
  if (template) {
    for (const place of host.querySelectorAll("[id^=fig-]")) {
      Plotly.purge(place);
      shown.delete(place.id.slice("fig-".length)); // drawn, or still in the queue
    }
    host.replaceChildren(template.content.cloneNode(true));
  }
  host.dataset.part = key;
  for (const [name, figure] of Object.entries(island(key).figures)) enter(name, figure);
}

function compare(a, b) {
  const card = byId("difference");
  card.hidden = !b;
  if (!b) return;
  const found = difference(island(a).matrix, island(b).matrix);
  const plot = byId("fig-difference");
  byId("difference-says").textContent = typeof found === "string" ? found : found.says;
  plot.hidden = typeof found === "string";
  if (card.querySelector(".tools")) card.querySelector(".tools").hidden = plot.hidden;
  if (!plot.hidden) enter("difference", found);
}

const part = picker => picker.selectedOptions[0]?.dataset.part;

function apply() {
  const [stream, run, other] = pickers;
  if (stream && byId("overview").dataset.part !== part(stream)) show(byId("overview"), part(stream));
  if (byId("one").dataset.part !== part(run)) show(byId("one"), part(run));
  compare(part(run), part(other));
  for (const row of document.querySelectorAll("tr[data-part]")) {
    row.classList.toggle("picked", [part(run), part(other)].includes(row.dataset.part));
  }
}

function restore() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const picker of pickers) {
    const option = picker && [...picker.options].find(option => option.value === wanted.get(picker.id));
    if (option) picker.value = option.value;
  }
  apply();
}

function picked() {
  const values = pickers.filter(picker => picker?.value).map(picker => [picker.id, picker.value]);
  history.replaceState(null, "", `#${new URLSearchParams(values)}`);
  apply();
}

// A live page: loaded again when a row was added or a run began; the losses of what is being learned come by themselves.
async function look() {
  try {
    const answer = await fetch("state");
    if (answer.ok) fresh(await answer.json());
    else byId("live").textContent = `· the runs cannot be read now (error ${answer.status}); it is tried again`;
  } catch {
    byId("live").textContent = "· no answer: the command that served this page has ended";
  }
  setTimeout(look, 2000);
}

function fresh(state) {
  if (state.page !== root.dataset.page) return location.reload();
  const now = state.losses[pickers[1]?.value];
  if (now && byId("fig-losses")) enter("losses", now);
  byId("live").textContent = "· live";
}

if (pickers[1]) {
  for (const picker of pickers) picker?.addEventListener("change", picked);
  addEventListener("hashchange", () => {
    restore();
    byId("picker").scrollIntoView();
  });
  restore();
} else if (byId("one")) {
  show(byId("one"), "run-0");
}
if (root.dataset.page) look();
