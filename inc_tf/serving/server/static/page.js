// The page: choose or draw an image, attack it, and draw what the server tells of the search, line by line.
// Images are arrays of H·W·C bytes; the server's endpoints carry them as base64.

const $ = (id) => document.getElementById(id);
const EPSILON_STEPS = 50; // of half the range, the slider's end
const NAMES = { fgsm: "FGSM, one step", bim: "BIM, 20 steps of 2ε", pgd: "PGD, 40 steps" };

let model; // the one on show, as /demonstrations describes it
let chosen; // {image, label}: the sample or drawing that is attacked

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const base64 = (array) => btoa(Array.from(array, (b) => String.fromCharCode(b)).join(""));
const className = (i) => (model.classes ? model.classes[i] : String(i));

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Paint one image; `colour` answers [red, green, blue] of a pixel's number.
function paint(canvas, colour) {
  const [height, width] = model.shape;
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
  const order = probabilities.map((p, i) => [p, i]);
  const top = Math.max(...probabilities);
  list.replaceChildren(
    ...order.map(([p, i]) => {
      const fill = element("div", { class: "fill" });
      fill.style.width = `${100 * p}%`;
      const percent = `${(100 * p).toFixed(1)} %`;
      const item = element("li", p === top ? { class: "top" } : {}, element("span", {}, className(i)));
      item.append(element("div", { class: "track", "aria-hidden": "true" }, fill), element("span", {}, percent));
      return item;
    }),
  );
}

function showVerdict(which, probabilities, label, labelled) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const right = best === label;
  $(`${which}-label`).textContent = className(best);
  $(`${which}-label`).className = right ? "right" : "wrong";
  const [kept, lost] = labelled ? ["as labelled", "the label is"] : ["as before the attack", "before the attack it was"];
  $(`${which}-note`).textContent = right ? kept : `${lost} ${className(label)}`;
  showBars($(`${which}-bars`), probabilities);
}

function drawChart(looks) {
  const svg = $("chart");
  const make = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const [left, right, top, bottom] = [44, 624, 12, 184];
  const last = Math.max(10, model.steps, ...looks.map((look) => look.steps ?? 1));
  const high = 1.08 * Math.max(model.threshold ?? 0, 0.1, ...looks.map((look) => look.distance));
  const x = (steps) => left + ((right - left) * Math.log(steps ?? 1)) / Math.log(last);
  const y = (distance) => bottom - ((bottom - top) * distance) / high;
  const parts = [make("title", { id: "chart-title" }, "Distance against steps of the search")];
  const unit = [0.2, 0.5, 1, 2, 5, 10, 20].find((u) => high / u <= 6) ?? 50;
  for (let d = 0; d <= high; d += unit) {
    parts.push(make("line", { class: "axis", x1: left, x2: right, y1: y(d), y2: y(d) }));
    parts.push(make("text", { x: left - 8, y: y(d) + 4, "text-anchor": "end" }, Number(d.toFixed(1))));
  }
  for (let s = 1; s <= last; s *= 10) parts.push(make("text", { x: x(s), y: bottom + 18, "text-anchor": "middle" }, s));
  parts.push(make("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle" }, "steps of the search"));
  if (model.threshold !== null) {
    const eta = y(model.threshold);
    parts.push(make("line", { class: "eta", x1: left, x2: right, y1: eta, y2: eta }));
    const name = `η = ${model.threshold.toFixed(2)}: rejected from there up`;
    parts.push(make("text", { class: "eta-name", x: left + 6, y: eta + 15 }, name));
  }
  const points = looks.map((look) => [x(look.steps), y(look.distance)]);
  parts.push(make("polyline", { class: "line", points: points.join(" ") }));
  parts.push(...points.map(([cx, cy]) => make("circle", { cx, cy, r: 4 })));
  svg.replaceChildren(...parts);
}

function showLook(look, looks, { label, labelled, adversarial }) {
  const projection = bytes(look.projection);
  paintImage($("projection"), projection);
  paintDifference($("difference"), adversarial, projection);
  showVerdict("defended", look.defended, label, labelled);
  const canvas = element("canvas", { role: "img", "aria-label": `Projection after ${look.steps ?? "all"} steps` });
  paintImage(canvas, projection);
  const caption = element("figcaption", {}, look.steps === null ? "whole" : String(look.steps));
  $("film").append(element("figure", {}, canvas, caption));
  $("distance").textContent = look.distance.toFixed(2);
  const badge = $("badge");
  badge.textContent = look.accepted ? "accepted" : "rejected";
  badge.className = `badge ${look.accepted ? "right" : "wrong"}`;
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

function say(text, failed = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", failed);
}

async function run() {
  const attack = $("attack").value;
  const epsilon = Number($("epsilon").value);
  const { image, label } = chosen;
  const body = { image: base64(image), label, attack, epsilon };
  $("run").disabled = $("model").disabled = true;
  $("result").dataset.state = "running";
  say("Attacking …");
  try {
    const answer = await fetch(`demonstrations/${model.name}`, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error((await answer.json()).error);
    await follow(answer.body, label !== null);
    $("result").dataset.state = "done";
  } catch (error) {
    say(`That failed: ${error.message}`, true);
    $("result").dataset.state = "failed";
  } finally {
    $("run").disabled = $("model").disabled = false;
  }
}

async function follow(stream, labelled) {
  const looks = [];
  let attacked;
  $("film").replaceChildren();
  for await (const event of lines(stream)) {
    if (event.event === "attack") {
      attacked = { label: event.label, labelled, adversarial: bytes(event.adversarial) };
      paintImage($("x"), bytes(event.image));
      paintImage($("adversarial"), attacked.adversarial);
      showVerdict("undefended", event.undefended, event.label, labelled);
      say("Searching for the projection …");
    } else {
      looks.push(event);
      showLook(event, looks, attacked);
    }
  }
  if (!looks.length) throw new Error("the server broke off");
  const final = looks.at(-1);
  say(`Done: ${final.accepted ? "accepted" : "rejected"} at distance ${final.distance.toFixed(2)}.`);
}

function choose(image, label) {
  chosen = { image, label };
  paintImage($("x"), image);
  $("run").disabled = false;
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
    choose(image, null);
    say("Drawn. It has no label: the classifier's own answer stands for it.");
  });
  $("clear").addEventListener("click", clear);
}

function showModel(described) {
  model = described;
  const solver = model.solver;
  model.steps = solver ? solver.steps : 1;
  $("solver").textContent = solver ? `${solver.class}, at most ${model.steps} steps` : "";
  const range = model.bounds[1] - model.bounds[0];
  $("range").textContent = range;
  Object.assign($("epsilon"), { max: range / 2, step: range / 2 / EPSILON_STEPS, value: range / 5 });
  $("epsilon-value").textContent = Number($("epsilon").value).toFixed(2);
  $("threshold").textContent = model.threshold === null ? "(no threshold)" : `of η = ${model.threshold.toFixed(2)}`;
  $("attack").replaceChildren(...model.attacks.map((name) => element("option", { value: name }, NAMES[name] ?? name)));
  $("drawing").hidden = model.shape.join() !== "28,28,1";
  $("samples").replaceChildren(
    ...model.samples.map((sample, i) => {
      const what = sample.label === null ? `generated image ${i + 1}` : `a ${className(sample.label)}`;
      const input = element("input", { type: "radio", name: "sample", "aria-label": `Sample ${i + 1}, ${what}` });
      const canvas = element("canvas", { "aria-hidden": "true" });
      const image = bytes(sample.image);
      paintImage(canvas, image);
      input.addEventListener("change", () => choose(image, sample.label));
      return element("label", {}, input, canvas);
    }),
  );
  for (const id of ["adversarial", "projection", "difference"]) paint($(id), () => [0, 0, 0]);
  for (const id of ["undefended-bars", "defended-bars", "film"]) $(id).replaceChildren();
  for (const id of ["undefended-note", "defended-note"]) $(id).textContent = "";
  for (const id of ["undefended-label", "defended-label", "badge", "distance"]) $(id).textContent = "–";
  $("badge").className = "badge";
  const first = $("samples").querySelector("input");
  if (first) first.click();
  drawChart([]);
}

async function start() {
  $("run").disabled = true;
  while (!(await fetch("healthz")).ok) {
    say("The models are loading …");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  const models = await (await fetch("demonstrations")).json();
  if (!models.length) throw new Error("no model here has a generator to show");
  $("model").replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
  $("model-choice").hidden = models.length < 2;
  $("model").addEventListener("change", () => showModel(models.find(({ name }) => name === $("model").value)));
  $("epsilon").addEventListener("input", () => {
    $("epsilon-value").textContent = Number($("epsilon").value).toFixed(2);
  });
  $("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  setUpDrawing();
  showModel(models[0]);
  say("Ready.");
}

start().catch((error) => say(`That failed: ${error.message}`, true));
