// Browse the tasks: every response in the page, found by filters, with what became of it.
// What a model wrote is only ever the text of an element.

const AT_A_TIME = 40; // rows that are made at once
const unpacked = new Map(); // responses, by the name of their block
let responses = null; // those of the run that is shown
let found = []; // places of those that match
let numShown = 0;

const filters = document.getElementById("filters");
const rowsBody = document.querySelector("#responses tbody");
const status = document.getElementById("found");
const more = document.getElementById("more");

async function unpack(name) {
  const packed = atob(document.getElementById(name).textContent.trim());
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const columns = JSON.parse(await new Response(stream).text());
  let line = 0;
  columns.line = columns.line_after.map((more) => (line += more));
  columns.task_rate = taskRates(columns);
  return columns;
}

// The solve rate of the task that a response is about: an attempt has that of the proposal before it.
function taskRates(columns) {
  let [head, rate] = ["", null];
  return columns.solve_rate.map((own, i) => {
    const request = `${columns.step[i]}/${columns.wave[i]}/${columns.index[i]}`;
    if (request !== head) [head, rate] = [request, own];
    return own ?? rate;
  });
}

async function showResponses(run) {
  const section = document.getElementById("tasks");
  section.querySelector(".with-tasks").hidden = !run.responses;
  section.querySelector(".without-tasks").hidden = Boolean(run.responses);
  section.querySelector(".without-tasks").textContent = run.missing.responses || "";
  responses = null;
  if (!run.responses) return;
  status.textContent = "Reading ...";
  if (!unpacked.has(run.responses)) unpacked.set(run.responses, await unpack(run.responses));
  responses = unpacked.get(run.responses);
  document.getElementById("left-out").textContent = responses.left_out;
  for (const name of ["role", "kind", "level", "outcome", "reason"]) {
    const select = filters.elements[name];
    const before = select.selectedOptions[0]?.text; // another run has other numbers for its values
    select.replaceChildren(new Option("all", ""), ...responses.names[name].map((value, i) => new Option(value || "none", i)));
    for (const option of select.options) option.selected = option.text === before;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
    select.closest("label").hidden = responses.names[name].length < 2;
  }
  search();
}

function search() {
  const wanted = new FormData(filters);
  const text = wanted.get("text").trim().toLowerCase();
  const among = ["role", "kind", "level", "outcome", "reason"].filter((name) => wanted.get(name) !== "");
  const numbers = (name, otherwise) => (wanted.get(name) === "" ? otherwise : Number(wanted.get(name)));
  const [first, last] = [numbers("first", -Infinity), numbers("last", Infinity)];
  const [least, most] = [numbers("least", null), numbers("most", null)];
  found = [];
  for (let i = 0; i < responses.step.length; i += 1) {
    if (responses.step[i] < first || responses.step[i] > last) continue;
    if (!among.every((name) => responses[name][i] === Number(wanted.get(name)))) continue;
    if (least !== null || most !== null) {
      const rate = responses.task_rate[i];
      if (rate === null || rate * 100 < (least ?? 0) - 0.5 || rate * 100 > (most ?? 100) + 0.5) continue;
    }
    if (text && !matches(i, text)) continue;
    found.push(i);
  }
  sortFound(wanted.get("order"));
  numShown = 0;
  rowsBody.replaceChildren();
  showMore();
}

function matches(i, text) {
  return responses.response[i].toLowerCase().includes(text) ||
    responses.records[responses.record[i]].toLowerCase().includes(text) ||
    responses.prompts[responses.prompt[i]].some((message) => message[1].toLowerCase().includes(text));
}

function sortFound(order) {
  const value = { reward: responses.reward, solve_rate: responses.solve_rate, step: responses.step }[order.replace(/^-/, "")];
  if (order === "step") return; // as they are in the ledger
  const sign = order.startsWith("-") ? -1 : 1;
  const last = Infinity; // what has no value comes last, whichever the order
  const key = (i) => (value[i] === null ? last : sign * value[i]);
  found.sort((a, b) => (key(a) === key(b) ? a - b : key(a) < key(b) ? -1 : 1));
}

function showMore() {
  const next = found.slice(numShown, numShown + AT_A_TIME);
  rowsBody.append(...next.map(rowFor));
  numShown += next.length;
  const total = responses.step.length;
  status.textContent = `${found.length.toLocaleString("en")} of ${total.toLocaleString("en")} responses match; ${numShown.toLocaleString("en")} are listed.`;
  more.hidden = numShown >= found.length;
}

const named = (name, i) => responses.names[name][responses[name][i]];
const number = (value, digits = 3) => (value === null ? "" : Number(value.toFixed(digits)).toString());
const percent = (value) => (value === null ? "" : `${Math.round(value * 100)} %`);

function titleOf(i) {
  // As recipe.inspect names it
  const wave = responses.wave[i] ? `.${responses.wave[i]}` : "";
  const name = `${responses.step[i]}${wave}/${responses.index[i]}`;
  return named("role", i) === "propose" ? `proposal ${name}` : `attempt ${name}:${responses.attempt[i]}`;
}

function statusOf(i) {
  if (named("reason", i)) return named("reason", i);
  if (named("outcome", i) !== "correct") return named("outcome", i);
  return named("role", i) === "propose" ? "accepted" : "right";
}

function rowFor(i) {
  const row = document.createElement("tr");
  row.dataset.response = i;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "+";
  button.setAttribute("aria-expanded", "false");
  button.setAttribute("aria-label", `Details of ${titleOf(i)}`);
  button.addEventListener("click", () => toggle(row, button, i));
  const cells = [
    ["opener", button],
    ["short number", responses.step[i]],
    ["short", named("role", i)],
    ["middle wide", `${named("kind", i)} ${named("level", i)}`],
    ["middle", statusOf(i)],
    ["short number wide", percent(responses.solve_rate[i])],
    ["short number", number(responses.reward[i])],
    ["line wide", visible(responses.response[i].slice(0, 200).replace(/\s+/g, " "))],
  ];
  for (const [kind, content] of cells) {
    const cell = document.createElement("td");
    cell.className = kind;
    cell.append(content);
    row.append(cell);
  }
  return row;
}

function toggle(row, button, i) {
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  button.textContent = isOpen ? "+" : "−";
  row.classList.toggle("open", !isOpen);
  if (isOpen) {
    row.nextElementSibling.remove();
    return;
  }
  const detail = document.createElement("tr");
  const cell = document.createElement("td");
  cell.colSpan = 8;
  cell.append(detailOf(i));
  detail.append(cell);
  row.after(detail);
}

function detailOf(i) {
  const box = document.createElement("div");
  box.className = "detail";
  const asked = responses.prompts[responses.prompt[i]].map(([role, content]) => [`Prompt (${role})`, content]);
  const cut = responses.cut[i] ? ` (the first ${responses.response[i].length.toLocaleString("en")} of ${responses.cut[i].toLocaleString("en")} characters)` : "";
  const texts = [...asked, [`Response${cut}`, responses.response[i]], ["Task", responses.records[responses.record[i]]]];
  for (const [title, content] of texts) if (content) box.append(part(title, preformatted(content)));
  box.append(part("Reward, term by term", derivationOf(i), "across"));
  const attempts = attemptsOf(i);
  if (attempts.length) box.append(part(`Attempts at it (${attempts.length})`, attemptsTable(attempts), "across"));
  box.append(part("Where it stands", line(`${titleOf(i)}: line ${responses.line[i].toLocaleString("en")} of the ledger; cell ${named("cell", i)}; kind ${named("kind", i)}.`), "across"));
  return box;
}

function derivationOf(i) {
  const terms = responses.derivations[responses.derivation[i]];
  const table = document.createElement("table");
  table.createTHead().append(rowOf("th", ["term", "value", "why"]));
  table.createTBody().append(...terms.map(([name, value, why]) => rowOf("td", [name, number(value, 4), why])));
  return table;
}

function attemptsOf(i) {
  if (named("role", i) !== "propose") return [];
  const others = [];
  // The attempts at a proposal stand behind it in the ledger.
  const isOfRequest = (j) => ["step", "wave", "index"].every((name) => responses[name][j] === responses[name][i]);
  for (let j = i + 1; j < responses.step.length && isOfRequest(j); j += 1) others.push(j);
  return others;
}

function attemptsTable(attempts) {
  const table = document.createElement("table");
  table.createTHead().append(rowOf("th", ["attempt", "outcome", "reward", "response"]));
  table.createTBody().append(...attempts.map((j) => {
    return rowOf("td", [responses.attempt[j], statusOf(j), number(responses.reward[j]), visible(responses.response[j].slice(0, 300))]);
  }));
  return table;
}

function part(title, content, kind = "") {
  const section = document.createElement("section");
  section.className = kind;
  const heading = document.createElement("h4");
  heading.textContent = title;
  section.append(heading, content);
  return section;
}

function preformatted(text) {
  const element = document.createElement("pre");
  element.tabIndex = 0; // it may scroll
  element.textContent = visible(text);
  return element;
}

function line(text) {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
}

// Control characters, and those that turn the direction of writing, as signs that can be seen.
function visible(text) {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCodePoint(0x2400 + c.codePointAt(0)))
    .replace(/[\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, (c) => `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

let typing = 0;
filters?.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, 200);
});
filters?.addEventListener("reset", () => setTimeout(search));
filters?.addEventListener("submit", (event) => event.preventDefault());
more?.addEventListener("click", () => {
  const next = numShown;
  showMore();
  rowsBody.querySelector(`[data-response="${found[next]}"] button`).focus();
});
document.addEventListener("steps", ({ detail }) => {
  if (!responses) return;
  [filters.elements.first.value, filters.elements.last.value] = detail || ["", ""];
  search();
});
