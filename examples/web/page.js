// The page: choices on the left, the picture in the middle, the prediction on the right.

import { flatten, paint, paintScale } from "./heatmap.js";
import { Picture, readPhoto } from "./picture.js";
import { Explainers } from "./explainers.js";
import { scoresOf } from "./metadata.js";

const at = (id) => document.getElementById(id);
const view = at("view").getContext("2d");
const OWN = "own";
const SHOWN = 5;
/** The share of f(x) - f(b) that attributions may miss before the page offers more points. */
const CLOSE = 0.01;

const site = await (await fetch("site.json")).json();
const explainers = new Explainers();
/** `reading`: the picture on its way, which an explanation waits for. */
const state = { picture: null, reading: Promise.resolve(), heat: null, own: null, target: -1 };

// ---- choices

function fill(select, entries) {
  select.replaceChildren(...entries.map(({ id, title }) => new Option(title, id)));
}

const network = () => site.networks.find(({ id }) => id === at("model").value);
const method = () => network().methods.find(({ id }) => id === at("method").value);

/** What the points of a method are called, by the parameter that counts them. */
const UNITS = { steps: ["Steps", "steps"], nb_samples: ["Noisy copies", "copies"] };

function showChoices() {
  const own = at("model").value === OWN;
  at("own").hidden = !own;
  at("method-field").hidden = own;
  at("model-hint").textContent = own ? "An image model with one input; the file stays on your device." : network().hint;
  if (!own) {
    const before = at("method").value;
    fill(at("method"), network().methods);
    if (network().methods.some(({ id }) => id === before)) at("method").value = before;
    at("method-hint").textContent = method().hint;
    showPoints();
  }
  at("points-field").hidden = own || !method().unit;
}

/** The numbers of points that the method is there with; the one chosen before stays chosen. */
function showPoints() {
  const before = at("points").value;
  const { unit, files } = method();
  fill(at("points"), files.map(({ points }) => ({ id: points, title: points })));
  if (files.some(({ points }) => String(points) === before)) at("points").value = before;
  if (unit) [at("points-label").textContent] = UNITS[unit];
}

/** What the worker needs to run the chosen explainer. */
function chosen() {
  if (at("model").value !== OWN) {
    const { points, file } = method().files.find((each) => String(each.points) === at("points").value);
    const { id, input, labels, logits, weights } = network();
    return { points, ...input, key: file, url: file, weights, labels, logits, group: id };
  }
  if (!state.own) throw new Error("Choose the .onnx file of an explainer first.");
  const [mean, scale] = at("range").value.split(" ").map(Number);
  return { mean, scale, ...state.own };
}

// ---- picture

function show(picture) {
  state.picture = picture;
  at("zoom").value = picture.zoom;
  changed();
}

/** Another square, network or method: the heatmap on show, or on its way, no longer belongs to what is seen. */
function changed() {
  if (explainers.running) explainers.stop();
  state.heat = null;
  state.target = -1;
  at("opacity").disabled = true;
  at("scale").hidden = true;
  at("view-hint").hidden = false;
  at("classes").replaceChildren();
  at("facts").textContent = "";
  at("more").hidden = true;
  say("", "Press <b>Explain</b> to see what the network makes of this.");
  draw();
}

function draw() {
  if (state.picture) paint(view, state.picture.pixels(view.canvas.width), state.heat, at("opacity").value / 100);
}

/** Shows a picture as soon as its file is there, unless another one was chosen meanwhile. */
function choosePicture(file, crop = {}, pressed = null) {
  for (const button of at("samples").children) button.setAttribute("aria-pressed", String(button === pressed));
  const reading = attempt(async () => {
    const bitmap = await readPhoto(await file);
    if (state.reading === reading) show(new Picture(bitmap, crop.centre, crop.zoom));
  });
  state.reading = reading;
  return reading;
}

function chooseSample(sample, button) {
  const file = fetch(sample.file).then((answer) => answer.blob());
  return choosePicture(file, sample.crops[at("model").value], button);
}

function addSamples() {
  for (const sample of site.samples) {
    const image = Object.assign(new Image(), { src: sample.file, alt: sample.title });
    const button = Object.assign(document.createElement("button"), { type: "button", title: sample.title });
    button.append(image);
    button.addEventListener("click", () => chooseSample(sample, button));
    at("samples").append(button);
  }
  at("credits").textContent = `Samples: ${site.samples.map(({ title, credit }) => `${title}: ${credit}`).join("; ")}. ${site.credit}`;
}

/** An explainer of one's own: an .onnx file, and the file of its weights where it has them beside it. */
async function chooseExplainer(files) {
  await attempt(async () => {
    const file = files.find(({ name }) => name.endsWith(".onnx"));
    if (!file) throw new Error(`${files[0].name} is no explainer: choose the .onnx file with it.`);
    const bytes = new Uint8Array(await file.arrayBuffer());
    at("model").value = OWN;
    showChoices();
    busy("reading the file");
    state.own = await explainers.describe(file.name, bytes, files);
    at("own-name").textContent = file.name;
    at("range").disabled = state.own.type === "uint8"; // its graph scales pixels itself
    changed();
  });
}

// ---- explaining

async function explain() {
  await state.reading;
  await attempt(async () => {
    const settings = chosen();
    if (!state.picture) throw new Error("Choose a picture first.");
    const image = state.picture.numbers(settings);
    busy("starting");
    reveal(at("result"));
    const result = await explainers.run(settings, image, state.target, (stage) => busy(stage, explainers.expected(settings)));
    showResult(result, settings, `Predicted and explained in ${seconds(result.milliseconds)} on your device.`);
  });
}

function showResult(result, settings, lead) {
  state.heat = flatten(result.attribution, settings.channelAxis);
  at("opacity").disabled = false;
  at("scale").hidden = false;
  at("view-hint").hidden = true;
  const labels = paintScale(at("bar").getContext("2d"), state.heat);
  ["low", "middle", "high"].forEach((id, index) => (at(id).textContent = labels[index]));
  draw();
  tell(result, settings, lead);
  offerMore(result, settings);
}

/** The result that was computed when the page was built, for its first sample: nothing is loaded or run for it. */
function showExample() {
  const { network: id, method: name, points, result } = site.example;
  at("model").value = id;
  showChoices();
  at("method").value = name;
  showChoices();
  at("points").value = points;
  showResult(result, chosen(), "An example, computed when this page was built; press Explain to compute it on your device.");
}

/** A button for the next larger number of points, where the attributions do not add up yet. */
function offerMore({ gap }, settings) {
  const more = at("model").value === OWN ? undefined : method().files.find(({ points }) => points > settings.points);
  at("more").hidden = !more || !(gap > CLOSE);
  if (!at("more").hidden) {
    at("more").textContent = `Take ${more.points} ${UNITS[method().unit][1]}`;
    at("more").value = more.points;
  }
}

/** The prediction in words, the most likely classes, and what it took. */
function tell(result, settings, how) {
  const scores = settings.logits ? softmax(result.prediction.values) : scoresOf(result.prediction.values, settings.unit);
  const order = scores.map((_, index) => index).sort((a, b) => scores[b] - scores[a]);
  const explained = state.target < 0 ? order[0] : state.target;
  const name = (index) => settings.labels?.[index] ?? `class ${index}`;
  const score = (index) => (settings.shares === false ? scores[index].toPrecision(4) : `${(100 * scores[index]).toFixed(1)} %`);
  const lead = explained === order[0] ? "The network says" : "Explained instead";
  say(lead, `<h2></h2><p></p>`);
  at("summary").querySelector("h2").textContent = name(explained);
  at("summary").querySelector("p:last-child").textContent = `Score ${score(explained)}`;
  const rows = order.slice(0, SHOWN);
  if (!rows.includes(explained)) rows.push(explained);
  at("classes").replaceChildren(...rows.map((index) => classRow(index, name(index), score(index), scores[index], index === explained)));
  const delta = result.delta === undefined ? "" : ` Its attributions miss the change of the score by ${missed(result)}.`;
  at("facts").textContent = `${how}${delta}`;
}

/** By how much attributions miss f(x) - f(b): as a share of it where the explainer tells, else in units of the score. */
function missed({ delta, gap }) {
  if (gap === undefined) return Math.abs(delta).toPrecision(2);
  return `${Number((100 * gap).toPrecision(2))} % of it`; // as a number, or 156 % would read 1.6e+2
}

function classRow(index, name, score, share, pressed) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.style.setProperty("--share", `${100 * Math.min(Math.max(share, 0), 1)}%`);
  button.setAttribute("aria-pressed", String(pressed));
  button.append(Object.assign(document.createElement("span"), { textContent: name }));
  button.append(Object.assign(document.createElement("span"), { textContent: score }));
  button.addEventListener("click", () => {
    state.target = index;
    explain();
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function softmax(values) {
  const most = Math.max(...values);
  const powers = Array.from(values, (value) => Math.exp(value - most));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((value) => value / total);
}

// ---- messages

const seconds = (milliseconds) => (milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`);

function say(lead, html) {
  at("summary").innerHTML = `${lead ? `<p class="hint">${lead}</p>` : ""}${html.startsWith("<h2") ? html : `<p class="hint">${html}</p>`}`;
}

/** Scrolls to what is not on the screen, as on a phone. */
function reveal(element) {
  const { top, bottom } = element.getBoundingClientRect();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (top > innerHeight / 2 || bottom < innerHeight / 2) element.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
}

/** Runs one action; what goes wrong is said on the page. */
async function attempt(action) {
  at("problem").hidden = true;
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    at("problem").textContent = error.message;
    at("problem").hidden = false;
    reveal(at("answer"));
  } finally {
    idle();
  }
}

let clock = 0;
let running = { since: 0, stage: "" };

function busy(stage, expected) {
  if (running.stage !== stage) running = { since: performance.now(), stage };
  at("explain").disabled = true;
  at("busy").hidden = false;
  clearInterval(clock);
  const tick = () => {
    const spent = performance.now() - running.since;
    at("busy-text").textContent = `${stage[0].toUpperCase()}${stage.slice(1)}: ${(spent / 1000).toFixed(1)} s`;
    if (stage === "explaining" && expected) {
      at("progress").value = Math.min(spent / expected, 0.99);
      at("busy-text").textContent += ` of about ${Math.max(1, Math.round(expected / 1000))} s`;
    } else at("progress").removeAttribute("value");
  };
  tick();
  clock = setInterval(tick, 100);
}

function idle() {
  clearInterval(clock);
  running = { since: 0, stage: "" };
  at("busy").hidden = true;
  at("explain").disabled = false;
}

// ---- what people do

at("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  state.target = -1;
  explain();
});
at("cancel").addEventListener("click", () => explainers.stop());
at("picture").addEventListener("change", ({ target }) => target.files[0] && choosePicture(target.files[0]));
at("explainer").addEventListener("change", ({ target }) => target.files[0] && chooseExplainer([...target.files]));
at("more").addEventListener("click", ({ target }) => {
  const { target: label } = state;
  at("points").value = target.value;
  changed();
  state.target = label; // the class that was explained
  explain();
});
at("points").addEventListener("change", changed);
at("opacity").addEventListener("input", ({ target }) => {
  target.setAttribute("aria-valuetext", `${target.value} percent`);
  draw();
});
at("model").addEventListener("change", () => {
  showChoices();
  const pressed = [...at("samples").children].findIndex((button) => button.getAttribute("aria-pressed") === "true");
  if (pressed >= 0) chooseSample(site.samples[pressed], at("samples").children[pressed]);
  else changed();
});
at("method").addEventListener("change", () => {
  showChoices();
  changed();
});
at("zoom").addEventListener("input", ({ target }) => {
  if (!state.picture) return;
  state.picture.zoom = Number(target.value);
  state.picture.clamp();
  changed();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
at("view").addEventListener("keydown", (event) => {
  if (!state.picture || !(event.key in ARROWS)) return;
  event.preventDefault();
  state.picture.move(...ARROWS[event.key].map((step) => step * 0.05));
  changed();
});
at("view").addEventListener("pointermove", (event) => {
  if (!state.picture || !(event.buttons & 1) ) return;
  const width = view.canvas.clientWidth;
  state.picture.move(-event.movementX / width, -event.movementY / width);
  changed();
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", () => document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const files = [...event.dataTransfer.files];
  if (files.some(({ name }) => name.endsWith(".onnx"))) chooseExplainer(files);
  else if (files.length) choosePicture(files[0]);
});

fill(at("model"), [...site.networks, { id: OWN, title: "Your own explainer (.onnx)" }]);
addSamples();
showChoices();
const first = chooseSample(site.samples[0], at("samples").firstElementChild);
await first;
if (state.reading === first && state.picture) showExample();
document.body.dataset.ready = "true";
