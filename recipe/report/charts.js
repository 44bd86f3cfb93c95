// Draw the charts: each figure's specification with the rows of the run that is shown.

const MOST_POINTS = 300; // of a line that can be pointed at
const MOST_NUMBERS = 300; // rows of a chart's table
const views = new Map(); // Vega's views, by figure

// Dashes, and outlines of markers in a square from -1 to 1, by a series' place.
const DASHES = ["1 0", "6 3", "2 2", "8 3 2 3", "10 4", "1 3", "4 2 1 2 1 2", "12 2 4 2"];
const MARKERS = [
  "M-.9,0A.9,.9,0,1,1,.9,0A.9,.9,0,1,1,-.9,0Z",
  "M-.8,-.8H.8V.8H-.8Z",
  "M0,-1L.95,.75H-.95Z",
  "M0,-1.1L1,0L0,1.1L-1,0Z",
  "M-.35,-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
  "M0,1L.95,-.75H-.95Z",
  "M-.35,-1.1H.35V1.1H-.35Z",
  "M-1.1,-.35H1.1V.35H-1.1Z",
];

function rowsOf(columns) {
  const names = Object.keys(columns);
  const length = names.length ? columns[names[0]].length : 0;
  return Array.from({ length }, (_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
}

function colour(name) {
  const probe = document.getElementById("probe");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function isDark() {
  return getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (getComputedStyle(document.documentElement).colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

function config() {
  const numbered = (stem, count) => Array.from({ length: count }, (_, i) => colour(`${stem}-${i + 1}`));
  const text = { labelColor: colour("quiet"), titleColor: colour("quiet"), titleFontWeight: "normal" };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { ...text, gridColor: colour("line"), domainColor: colour("line"), tickColor: colour("line"), labelFontSize: 11, titleFontSize: 12 },
    legend: { ...text, orient: "bottom", labelFontSize: 11, titleFontSize: 11 },
    range: { heatmap: numbered("heat", 4) },
    line: { strokeWidth: 2 },
  };
}

// How each series looks, by its name; the same place looks the same in all charts.
function looksOf(rows, kind) {
  const places = new Map(rows.filter((row) => "series" in row).map((row) => [row.series, row.place]));
  const stem = kind === "areas" ? "area" : "series";
  return new Map([...places].sort((a, b) => a[1] - b[1]).map(([name, place]) => [name, {
    color: `var(--${stem}-${(place % 8) + 1})`,
    strokeDash: DASHES[(place + Math.floor(place / 8)) % 8],
    shape: MARKERS[place % 8],
  }]));
}

function fillLooks(spec, looks) {
  const ranges = {
    color: [...looks.values()].map((look) => colour(look.color.slice(6, -1))),
    strokeDash: [...looks.values()].map((look) => look.strokeDash.split(" ").map(Number)),
    shape: [...looks.values()].map((look) => look.shape),
  };
  for (const layer of spec.layer) {
    for (const channel of Object.keys(ranges)) {
      const encoding = layer.encoding[channel];
      if (encoding?.field === "series") encoding.scale = { domain: [...looks.keys()], range: ranges[channel] };
    }
  }
}

function legendOf(looks, kind) {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [name, look] of looks) {
    const entry = document.createElement("li");
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const shape = (tag, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      swatch.append(element);
    };
    swatch.setAttribute("aria-hidden", "true");
    swatch.setAttribute("viewBox", kind === "areas" ? "0 0 20 14" : "0 0 36 14");
    swatch.style.color = look.color;
    if (kind === "areas") shape("rect", { x: 0, y: 1, width: 20, height: 12, fill: "currentColor" });
    else {
      shape("line", { x1: 0, y1: 7, x2: 36, y2: 7, stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": look.strokeDash });
      shape("path", { d: look.shape, transform: "translate(18 7) scale(4.5)", fill: "currentColor" });
    }
    entry.append(swatch, name);
    list.append(entry);
  }
  return list;
}

async function drawOne(plot, chart, rows, looks, alarms) {
  const spec = structuredClone(chart.spec);
  const numPoints = rows.length / Math.max(1, looks.size);
  for (const param of spec.params) param.value = param.name === "every" ? Math.ceil(numPoints / MOST_POINTS) : colour(param.name);
  const isTouched = matchMedia("(pointer: coarse)").matches; // marking steps would take the finger from scrolling
  if (isTouched) for (const layer of spec.layer) layer.params = (layer.params || []).filter((param) => param.name !== "chosen");
  if (!rows.some((row) => row.low !== null && row.low !== undefined)) spec.layer = spec.layer.filter((layer) => layer.encoding.y?.field !== "low");
  if (!alarms.length) spec.layer = spec.layer.filter((layer) => layer.data?.name !== "alarms");
  fillLooks(spec, looks);
  spec.datasets = { rows: rows.map((row) => ({ ...row })), alarms: alarms.map((row) => ({ ...row })) };
  spec.description = plot.closest("figure").querySelector("h3").textContent;
  const options = { actions: false, renderer: "svg", ast: true, config: config(), tooltip: { theme: isDark() ? "dark" : "light" } };
  const { view } = await vegaEmbed(plot, spec, options);
  if (!isTouched && spec.layer.some((layer) => (layer.params || []).some((param) => param.name === "chosen"))) {
    view.addSignalListener("chosen", (_, value) => announceSteps(view, Object.values(value)[0]));
  }
  return view;
}

let announcing = 0;
let marked = null; // the view in which steps are marked: one at a time
function announceSteps(view, range) {
  if (!range && view !== marked) return; // it was cleared for another one
  if (range && marked && marked !== view) {
    const before = marked;
    marked = view;
    before.signal("chosen_x", []).runAsync();
  }
  marked = range ? view : null;
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    const steps = range && range.length === 2 ? [Math.ceil(range[0]), Math.floor(range[1])] : null;
    document.dispatchEvent(new CustomEvent("steps", { detail: steps }));
  }, 150);
}

async function drawFigure(figure, page, run) {
  for (const view of views.get(figure) || []) {
    if (view === marked) marked = null;
    view.finalize();
  }
  views.set(figure, []);
  const name = figure.dataset.chart;
  const chart = page.charts[name];
  const plot = figure.querySelector(".plot");
  const source = figure.dataset.scope === "compared" ? page.compared : run;
  const rows = name in source.tables ? rowsOf(source.tables[name]) : [];
  plot.replaceChildren();
  figure.querySelector(".legend")?.remove();
  figure.querySelector("details").hidden = !rows.length;
  fillNumbers(figure, rows);
  if (!rows.length) {
    plot.textContent = source.missing[name];
    return;
  }
  const alarms = figure.dataset.scope === "compared" ? [] : rowsOf(run.alarms);
  const kind = chart.spec.usermeta.look;
  const looks = kind ? looksOf(rows, kind) : new Map();
  if (looks.size > 1 || kind === "areas") plot.before(legendOf(looks, kind));
  if (!chart.panel) {
    views.get(figure).push(await drawOne(plot, chart, rows, looks, alarms));
    return;
  }
  const panels = document.createElement("div");
  panels.className = "panels";
  plot.append(panels);
  for (const [value, members] of Map.groupBy(rows, (row) => row[chart.panel])) {
    const panel = document.createElement("div");
    const heading = document.createElement("h4");
    const inner = document.createElement("div");
    heading.textContent = value;
    inner.className = "plot";
    panel.append(heading, inner);
    panels.append(panel);
    views.get(figure).push(await drawOne(inner, chart, members, looks, alarms));
  }
}

function fillNumbers(figure, rows) {
  const details = figure.querySelector("details");
  const place = details.querySelector(".scroll");
  const hidden = ["place", "group_place", "marked", "named"];
  const fill = () => {
    if (!details.open || !rows.length) return;
    const names = Object.keys(rows[0]).filter((name) => !hidden.includes(name));
    const table = document.createElement("table");
    table.createTHead().append(rowOf("th", names));
    table.createTBody().append(...rows.slice(0, MOST_NUMBERS).map((row) => rowOf("td", names.map((name) => shown(row[name])))));
    place.replaceChildren(table);
    if (rows.length > MOST_NUMBERS) place.append(`The first ${MOST_NUMBERS} of ${rows.length} rows.`);
  };
  details.ontoggle = fill;
  fill();
}

function rowOf(tag, values) {
  const row = document.createElement("tr");
  for (const value of values) {
    const cell = document.createElement(tag);
    if (tag === "th") cell.scope = "col";
    cell.textContent = value;
    row.append(cell);
  }
  return row;
}

function shown(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value);
}
