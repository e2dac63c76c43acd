// The page: choose or draw an image, attack it, and show what the server tells of the search, line by line. It begins with
// a demonstration that the server has already run. Images are arrays of H·W·C bytes; the endpoints carry them as base64.

const $ = (id) => document.getElementById(id);
const EPSILON_STEPS = 50; // of half the range, the slider's end
const TOP = 3; // classes that have a bar of their own
const AGAIN = 1000; // milliseconds between two tries at a server that is away
const IDEA = $("idea").textContent; // of a projection onto what a generator can make

let model; // the one on show, as /demonstrations describes it
let chosen; // {image, label, drawn}: what is attacked
let running = null; // the AbortController of the demonstration that is under way

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const base64 = (array) => btoa(Array.from(array, (b) => String.fromCharCode(b)).join(""));
const className = (i) => (model.classes ? model.classes[i] : String(i));
const best = (probabilities) => probabilities.indexOf(Math.max(...probabilities));
const attackNamed = (name) => model.attacks.find((attack) => attack.name === name);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Paint one image; `colour` returns [red, green, blue] of a pixel's number.
function paint(canvas, colour) {
  const [height, width] = model.shape;
  canvas.parentElement?.removeAttribute("data-empty");
  canvas.width = width;
  canvas.height = height;
  const data = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) data.data.set([...colour(i), 255], 4 * i);
  canvas.getContext("2d").putImageData(data, 0, 0);
}

function paintImage(canvas, image) {
  const channels = model.shape[2];
  paint(canvas, (i) => (channels === 3 ? image.subarray(3 * i, 3 * i + 3) : [image[i], image[i], image[i]]));
}

function paintDifference(canvas, above, below) {
  const channels = model.shape[2];
  paint(canvas, (i) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += above[channels * i + c] - below[channels * i + c];
    const share = Math.min(1, Math.abs(sum) / channels / 160);
    const full = sum > 0 ? [255, 138, 61] : [61, 155, 255];
    return full.map((part) => part * share);
  });
}

function showBars(list, probabilities) {
  const order = probabilities.map((p, i) => [p, className(i)]).sort(([a], [b]) => b - a);
  const others = order.slice(TOP).reduce((sum, [p]) => sum + p, 0);
  const shown = order.length > TOP + 1 ? [...order.slice(0, TOP), [others, "others"]] : order;
  list.replaceChildren(
    ...shown.map(([p, name], rank) => {
      const fill = element("div", { class: "fill" });
      fill.style.width = `${100 * p}%`;
      const percent = `${(100 * p).toFixed(1)} %`;
      const item = element("li", rank === 0 ? { class: "top" } : {}, element("span", {}, name));
      item.append(element("div", { class: "track", "aria-hidden": "true" }, fill), element("span", {}, percent));
      return item;
    }),
  );
}

function showClass(which, probabilities, attacked, refused = false) {
  const found = best(probabilities);
  const right = found === attacked.label;
  $(`${which}-label`).textContent = className(found);
  $(`${which}-label`).className = refused ? "refused" : right ? "right" : "wrong";
  const truth = attacked.labelled ? "it is labelled" : "before the attack it was";
  const said = right ? `${className(found)}, right` : `${className(found)}, wrong: ${truth} ${className(attacked.label)}`;
  $(`${which}-note`).textContent = refused ? `${className(found)}, but refused` : said;
  showBars($(`${which}-bars`), probabilities);
}

function say(text, verdict = "none") {
  $("verdict").textContent = text;
  $("verdict").dataset.verdict = verdict;
}

// What came of it, in a sentence or two.
function showVerdict(attacked, look) {
  const [alone, behind, label] = [best(attacked.undefended), best(look.defended), attacked.label];
  const first = `Alone: ${className(alone)}, ${alone === label ? "right" : "fooled"}.`;
  const far = model.generates ? "too far from anything the generator can make" : "too far from its projection";
  if (!look.accepted) return say(`Refused: ${far}. ${first}`, "refused");
  if (behind === label) return say(`${first} Behind the projection: ${className(behind)}, right.`, "good");
  const second = `Behind the projection: ${className(behind)}, where ${className(label)} is right.`;
  if (best(attacked.clean) === label && alone === label && !attacked.knows) {
    return say(`${first} ${second} The projection lost it.`, "bad");
  }
  say(`The attack won. ${second}`, "bad");
}

function drawChart(looks) {
  const svg = $("chart");
  const make = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const [width, height] = [svg.clientWidth || 640, svg.clientHeight || 224];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const [left, right, top, bottom] = [38, width - 12, 12, height - 42];
  const last = Math.max(10, model.steps, ...looks.map((look) => look.steps ?? 1));
  const high = 1.18 * Math.max(model.threshold ?? 0, 0.1, ...looks.map((look) => look.distance));
  const x = (steps) => left + ((right - left) * Math.log(steps ?? 1)) / Math.log(last);
  const y = (distance) => bottom - ((bottom - top) * distance) / high;
  const parts = [make("title", { id: "chart-title" }, "Distance against steps of the search")];
  const unit = [0.2, 0.5, 1, 2, 5, 10, 20].find((u) => high / u <= 6) ?? 50;
  for (let d = 0; d <= high; d += unit) {
    parts.push(make("line", { class: "axis", x1: left, x2: right, y1: y(d), y2: y(d) }));
    parts.push(make("text", { x: left - 8, y: y(d) + 4, "text-anchor": "end" }, Number(d.toFixed(1))));
  }
  for (let s = 1; s <= last; s *= 10) parts.push(make("text", { x: x(s), y: bottom + 18, "text-anchor": "middle" }, s));
  parts.push(make("text", { x: (left + right) / 2, y: bottom + 38, "text-anchor": "middle" }, "steps of the search"));
  if (model.threshold !== null) {
    const eta = y(model.threshold);
    parts.push(make("line", { class: "eta", x1: left, x2: right, y1: eta, y2: eta }));
    const name = `η, refused above`;
    parts.push(make("text", { class: "eta-name", x: right - 4, y: eta - 6, "text-anchor": "end" }, name));
  }
  const points = looks.map((look) => [x(look.steps), y(look.distance)]);
  parts.push(make("polyline", { class: "line", points: points.join(" ") }));
  parts.push(...points.map(([cx, cy]) => make("circle", { cx, cy, r: 4 })));
  svg.replaceChildren(...parts);
}

function showLook(look, looks, attacked) {
  const projection = bytes(look.projection);
  paintImage($("projection"), projection);
  paintDifference($("difference"), attacked.adversarial, projection);
  showClass("defended", look.defended, attacked, !look.accepted);
  const canvas = element("canvas", { role: "img", "aria-label": `Projection after ${look.steps ?? "all"} steps` });
  const caption = element("figcaption", {}, look.steps === null ? "whole" : String(look.steps));
  $("film").append(element("figure", {}, canvas, caption));
  paintImage(canvas, projection);
  $("distance").textContent = look.distance.toFixed(2);
  $("badge").textContent = look.accepted ? "accepted" : "refused";
  $("badge").className = `badge ${look.accepted ? "" : "refused"}`;
  drawChart(looks);
}

async function* lines(stream) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of stream) {
    rest += decoder.decode(part, { stream: true });
    const whole = rest.split("\n");
    rest = whole.pop();
    yield* whole.map(JSON.parse);
  }
}

// Show events as they come: from the server, or those of the first demonstration, which it has already run.
async function follow(events, labelled, knows) {
  const looks = [];
  let attacked;
  blank();
  for await (const event of events) {
    if (event.event === "queued") {
      say(`Waiting: ${event.ahead} ${event.ahead === 1 ? "visitor is" : "visitors are"} ahead of you.`);
    } else if (event.event === "failed") {
      throw new Error(event.error);
    } else if (event.event === "attack") {
      attacked = { ...event, labelled, knows, adversarial: bytes(event.adversarial) };
      paintImage($("adversarial"), attacked.adversarial);
      showClass("undefended", event.undefended, attacked);
      say(model.solver ? "Searching for the closest image that the generator can make …" : "Projecting …");
    } else {
      looks.push(event);
      showLook(event, looks, attacked);
    }
  }
  if (!looks.length) throw new Error("the server broke off");
  showVerdict(attacked, looks.at(-1));
  $("result").dataset.state = "done";
}

async function run() {
  if (running || !chosen) return;
  const mine = (running = new AbortController());
  const attack = attackNamed($("attack").value);
  const { image, label } = chosen;
  const body = JSON.stringify({ image: base64(image), label, attack: attack.name, epsilon: Number($("epsilon").value) });
  $("run").setAttribute("aria-disabled", "true");
  $("result").dataset.state = "running";
  say(attack.knows_defense ? "Attacking, through the projection …" : "Attacking …");
  const top = $("verdict").getBoundingClientRect().top;
  if (top < 0 || top > 0.7 * innerHeight) $("result").scrollIntoView();
  try {
    const headers = { "Content-Type": "application/json" };
    const url = `demonstrations/${model.name}`;
    const answer = await patiently(() => fetch(url, { method: "POST", headers, body, signal: mine.signal }), mine.signal);
    if (!answer.ok) throw new Error((await answer.json()).error);
    await follow(lines(answer.body), label !== null, attack.knows_defense);
  } catch (error) {
    if (running !== mine) return; // another image was chosen meanwhile
    blank();
    say(`That failed: ${error.message}`, "bad");
    $("result").dataset.state = "failed";
  } finally {
    if (running === mine) finish();
  }
}

function finish() {
  running = null;
  $("run").setAttribute("aria-disabled", String(!chosen));
}

// Ask again for as long as the server is away or loading.
async function patiently(ask, signal) {
  for (;;) {
    try {
      const answer = await ask();
      if (answer.status !== 503) return answer;
      say("The models are loading …");
    } catch (error) {
      if (signal?.aborted || !(error instanceof TypeError)) throw error;
      say("The server is away; trying again …", "bad");
    }
    await pause(AGAIN);
  }
}

// No result: placeholders where it will be.
function blank() {
  for (const id of ["adversarial", "projection", "difference"]) {
    $(id).getContext("2d").clearRect(0, 0, $(id).width, $(id).height);
    $(id).parentElement.setAttribute("data-empty", "");
  }
  for (const id of ["undefended-bars", "defended-bars", "film"]) $(id).replaceChildren();
  for (const id of ["undefended-note", "defended-note"]) $(id).textContent = "\u00a0";
  for (const id of ["undefended-label", "defended-label", "badge", "distance"]) {
    $(id).textContent = "–";
    $(id).classList.remove("right", "wrong", "refused");
  }
  drawChart([]);
}

function choose(image, label, drawn = false) {
  if (running) {
    running.abort();
    finish();
  }
  chosen = { image, label, drawn };
  paintImage($("x"), image);
  $("x-note").textContent = label === null ? (drawn ? "yours" : "generated") : `a ${className(label)}`;
  blank();
  delete $("result").dataset.state;
  $("run").setAttribute("aria-disabled", "false");
  say(drawn ? "Drawn. What the classifier says before the attack counts as right." : "Ready to attack.");
}

function chooseSample(i) {
  const input = $("samples").querySelectorAll("input")[i];
  input.checked = true;
  const { offsetLeft, offsetWidth } = input.parentElement;
  $("samples").scrollLeft = offsetLeft + offsetWidth / 2 - $("samples").offsetLeft - $("samples").clientWidth / 2;
  choose(bytes(model.samples[i].image), model.samples[i].label);
}

// What is shown no longer belongs to what is set.
function stale() {
  if ($("result").dataset.state !== "done") return;
  $("result").dataset.state = "stale";
  say("Changed: attack again.");
}

// Drawing: strokes on a large canvas, shrunk and centred by mass in a box of 20 pixels, as MNIST's digits are.
function drawn() {
  const [height, width] = model.shape;
  const pad = $("pad");
  const ink = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height).data;
  let [left, right, top, bottom, mass, mx, my] = [pad.width, 0, pad.height, 0, 0, 0, 0];
  for (let y = 0; y < pad.height; y++) {
    for (let x = 0; x < pad.width; x++) {
      const value = ink[4 * (y * pad.width + x)];
      if (!value) continue;
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
      [mass, mx, my] = [mass + value, mx + value * x, my + value * y];
    }
  }
  if (!mass) return null;
  const scale = 20 / Math.max(right - left + 1, bottom - top + 1);
  const small = new OffscreenCanvas(width, height).getContext("2d");
  small.fillRect(0, 0, width, height);
  small.imageSmoothingQuality = "high";
  const [x0, y0] = [width / 2 - (scale * mx) / mass, height / 2 - (scale * my) / mass];
  small.drawImage(pad, x0, y0, scale * pad.width, scale * pad.height);
  return small.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 === 0);
}

function setUpDrawing() {
  const pad = $("pad");
  const pen = pad.getContext("2d", { willReadFrequently: true });
  const clear = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, pad.width, pad.height);
  };
  const at = (event) => [(event.offsetX * pad.width) / pad.clientWidth, (event.offsetY * pad.height) / pad.clientHeight];
  let down = false;
  pen.lineWidth = 22;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = "#fff";
  clear();
  pad.addEventListener("pointerdown", (event) => {
    down = true;
    pad.setPointerCapture(event.pointerId);
    pen.beginPath();
    pen.moveTo(...at(event));
    pen.lineTo(...at(event));
    pen.stroke();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!down) return;
    pen.lineTo(...at(event));
    pen.stroke();
  });
  pad.addEventListener("pointerup", () => {
    down = false;
    const image = drawn();
    if (!image) return;
    for (const input of $("samples").querySelectorAll("input")) input.checked = false;
    choose(image, null, true);
  });
  $("clear").addEventListener("click", () => {
    clear();
    if (chosen.drawn) chooseSample(0);
  });
  $("draw").addEventListener("click", () => {
    const open = $("drawing").hidden;
    $("drawing").hidden = !open;
    $("draw").setAttribute("aria-expanded", String(open));
    if (open) $("controls").scrollIntoView({ block: "nearest" });
  });
}

function showModel(described) {
  model = described;
  const solver = model.solver;
  model.steps = solver ? solver.steps : 1;
  $("solver").textContent = solver ? `${solver.class}, at most ${model.steps} steps` : "";
  $("search-name").textContent = solver ? "The search for the projection" : "The projection";
  for (const part of ["film", "chart"]) $(part).toggleAttribute("hidden", !solver);
  $("listed").hidden = !model.attacks.some((attack) => attack.knows_defense);
  $("idea").textContent = model.generates ? IDEA : "So what an attack added is first taken out of the image.";
  for (const name of document.querySelectorAll("var.projection")) name.textContent = model.generates ? "G(z*)" : "x̂";
  const range = model.bounds[1] - model.bounds[0];
  $("range").textContent = range;
  Object.assign($("epsilon"), { max: range / 2, step: range / 2 / EPSILON_STEPS });
  const limit = model.threshold?.toFixed(2);
  $("threshold").textContent = limit ? `; from η = ${limit} up an image is refused.` : ".";
  const options = (knows) =>
    model.attacks
      .filter((attack) => attack.knows_defense === knows)
      .map(({ name, label }) => element("option", { value: name }, label));
  const groups = [
    element("optgroup", { label: "knows the classifier" }, ...options(false)),
    element("optgroup", { label: "knows the defence too" }, ...options(true)),
  ];
  $("attack").replaceChildren(...groups.filter((group) => group.children.length));
  $("draw").hidden = model.shape.join() !== "28,28,1";
  $("drawing").hidden = true;
  $("draw").setAttribute("aria-expanded", "false");
  $("samples").replaceChildren(
    ...model.samples.map((sample, i) => {
      const what = sample.label === null ? `generated image ${i + 1}` : `a ${className(sample.label)}`;
      const input = element("input", { type: "radio", name: "sample", "aria-label": `Sample ${i + 1}, ${what}` });
      const canvas = element("canvas", { "aria-hidden": "true" });
      paintImage(canvas, bytes(sample.image));
      input.addEventListener("change", () => chooseSample(i));
      return element("label", {}, input, canvas);
    }),
  );
  showFirst();
}

// The demonstration that the server ran when it started.
function showFirst() {
  const { sample, attack, epsilon, events } = model.first;
  set(attack, epsilon);
  chooseSample(sample);
  follow(events, model.samples[sample].label !== null, attackNamed(attack).knows_defense);
}

function set(attack, epsilon) {
  $("attack").value = attack;
  $("epsilon").value = epsilon;
  showEpsilon();
  offerBroken();
}

// An image on which the chosen attack is known to win.
function offerBroken() {
  $("broken").hidden = model.broken?.attack !== $("attack").value;
}

function showEpsilon() {
  $("epsilon-value").textContent = Number($("epsilon").value).toFixed(2);
}

async function start() {
  const models = await (await patiently(() => fetch("demonstrations"))).json();
  if (!models.length) throw new Error("no model here has images that may be shown");
  $("model").replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
  $("model-choice").hidden = models.length < 2;
  $("model").addEventListener("change", () => showModel(models.find(({ name }) => name === $("model").value)));
  $("epsilon").addEventListener("input", () => {
    showEpsilon();
    stale();
  });
  $("attack").addEventListener("change", () => {
    stale();
    offerBroken();
  });
  $("broken").addEventListener("click", () => {
    const { sample, attack, epsilon } = model.broken;
    set(attack, epsilon);
    chooseSample(sample);
    run();
  });
  $("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  setUpDrawing();
  showModel(models[0]);
}

start().catch((error) => say(`That failed: ${error.message}`, "bad"));
