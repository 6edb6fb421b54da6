// Moves of the controls become an address; the server draws what belongs to it.
"use strict";
const panel = document.getElementById("panel"), result = document.getElementById("result");
const drawn = document.getElementById("drawn"), controls = [...panel.querySelectorAll(".control")];
let pinned = panel.dataset.hasPin === "1" ? panel.dataset.pinned : null;
let running = null, waiting = null, following = null, idle = 0;

const field = (control) => control.querySelector("select, input");
const stops = (input) => JSON.parse(input.dataset.stops);
const valueOf = (control) => {
  const one = field(control);
  return one.tagName === "SELECT" ? one.value : String(stops(one)[one.value]);
};

function addressOf(withPin = true) {
  const words = new URLSearchParams();
  for (const control of controls) {
    if (valueOf(control) !== control.dataset.default) words.set(control.dataset.name, valueOf(control));
  }
  if (withPin && pinned !== null) words.set(panel.dataset.pin, pinned);
  return words.toString();
}

function show(query) { // what the panel says about the address
  for (const control of controls) {
    const one = field(control);
    control.classList.toggle("moved", valueOf(control) !== control.dataset.default);
    if (one.tagName === "INPUT") {
      const text = JSON.parse(one.dataset.texts)[one.value];
      control.querySelector("output").textContent = text;
      one.setAttribute("aria-valuetext", text);
    }
  }
  document.getElementById("unpin").disabled = pinned === null;
  for (const [id, path] of [["study", "/study.yaml"], ["report", "/report"], ["numbers", "/design.json"]]) {
    document.getElementById(id).href = path + "?" + query;
  }
}

async function draw(query, rest = null) { // one request at a time; of those that wait the newest; rest: aborts it
  if (running !== null) { waiting = query; following?.abort(); return; }
  running = query;
  following = rest;
  clearTimeout(idle);
  result.classList.add("busy");
  const start = performance.now();
  let partial = false;
  try {
    const answer = await fetch((rest ? "/result?" : "/redraw?") + query, {headers: {Accept: "text/html"}, signal: rest?.signal});
    result.innerHTML = await answer.text();
    partial = answer.headers.has("X-Partial");
    const whole = Math.round(performance.now() - start);
    if (rest) drawn.textContent += "; rivals " + whole + " ms later";
    else drawn.textContent = answer.headers.get("X-Refused") ? "refused"
      : "redrawn in " + whole + " ms, " + answer.headers.get("X-Draw-Ms") + " of them on the server";
    result.dataset.query = query;
  } catch {
    if (!rest?.signal.aborted) drawn.textContent = "no answer: is tritforge explore still running?";
  }
  result.classList.remove("busy");
  running = following = null;
  const next = waiting;
  waiting = null;
  if (next !== null && (next !== query || rest?.signal.aborted)) draw(next);
  else if (partial) draw(query, new AbortController());
  else idle = setTimeout(() => complete(query), 300);
}

async function complete(query) { // what takes longer than a redraw: other arrays on the map, choices that cannot be
  try {
    const place = document.getElementById("map"); // not there where the design is refused
    const map = place && await fetch("/map?" + query);
    const why = await (await fetch("/why?" + query)).json();
    if (running !== null || addressOf() !== query) return;
    if (map?.status === 200) place.innerHTML = await map.text();
    explain(why);
  } catch { /* the next redraw says so */ }
}

function explain(refused) {
  for (const [name, choices] of Object.entries(refused)) {
    const control = controls.find((one) => one.dataset.name === name), why = control.querySelector(".why");
    const options = field(control).options, none = choices.length === options.length;
    const reasons = new Map(none ? [] : choices.map(([value, text, reason]) => [value, [text, reason]]));
    for (const option of options) {
      option.textContent = option.textContent.replace(/^✕ /, "");
      if (reasons.has(option.value)) option.textContent = "✕ " + option.textContent;
    }
    why.classList.toggle("some", reasons.size > 0);
    why.querySelector("summary").textContent = none ? "no choice here helps"
      : reasons.size ? "why not: " + reasons.size : "every choice can be";
    why.querySelector("ul").replaceChildren(...[...reasons.values()].map(([text, reason]) => {
      const line = document.createElement("li");
      line.textContent = text + ": " + reason;
      return line;
    }));
  }
}

function moved(keep) {
  const query = addressOf();
  show(query);
  history[keep ? "pushState" : "replaceState"](null, "", query ? "/?" + query : "/");
  draw(query);
}

function restore() { // the address is the state
  const words = new URLSearchParams(location.search);
  pinned = words.get(panel.dataset.pin);
  for (const control of controls) {
    const one = field(control), value = words.get(control.dataset.name) ?? control.dataset.default;
    one.value = one.tagName === "SELECT" ? value : Math.max(0, stops(one).map(String).indexOf(value));
  }
  show(addressOf());
  draw(addressOf());
}

let dragging = false;
for (const control of controls) {
  const one = field(control);
  if (one.tagName === "INPUT") {
    one.addEventListener("input", () => { moved(!dragging); dragging = true; });
    one.addEventListener("change", () => { dragging = false; });
  } else one.addEventListener("change", () => moved(true));
}
document.getElementById("pin").addEventListener("click", () => { pinned = addressOf(false); moved(true); });
document.getElementById("unpin").addEventListener("click", () => { pinned = null; moved(true); });
panel.addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", restore);
show(addressOf());
const served = performance.getEntriesByType("navigation")[0]?.serverTiming?.[0];
if (served) drawn.textContent = "drawn in " + Math.round(served.duration) + " ms on the server";
idle = setTimeout(() => complete(addressOf()), 300);
