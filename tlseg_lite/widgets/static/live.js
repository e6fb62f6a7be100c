// A model in the page: SAM's masks for clicks and boxes, and an adapted model's map.
import { distinct, edge, geojson, native, over, share, stability } from "./live_masks.js";

const COLOURS = ["#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2"];
const LARGEST = 1024;  // pixels along the longer side that are worked on
const PATIENCE = 45000;  // ms that WebGPU may take to begin
const PAD = [123.675 / 255, 116.28 / 255, 103.53 / 255];
const percent = value => `${(100 * value).toFixed(1)} %`;
const make = (tag, set = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), set);
  element.append(...children);
  return element;
};

class Models {  // the worker, with an answer to each question
  constructor(url) {
    this.waiting = new Map();
    this.worker = new Worker(url, { type: "module" });
    this.worker.onmessage = ({ data }) => {
      const { done, fail, step } = this.waiting.get(data.id);
      if (data.progress !== undefined) { step?.(data.progress); return; }
      this.waiting.delete(data.id);
      if (data.error) fail(new Error(data.error)); else done({ ...data.answer, ms: data.ms });
    };
    this.worker.onerror = event => {
      for (const { fail } of this.waiting.values()) fail(new Error(event.message || "no worker"));
    };
  }
  ask(kind, more = {}, step = undefined) {
    const id = this.count = (this.count || 0) + 1;
    return new Promise((done, fail) => {
      this.waiting.set(id, { done, fail, step });
      this.worker.postMessage({ id, kind, ...more });
    });
  }
}

const HTML = `
<div class="columns"><div class="stage"><canvas class="view" tabindex="0" role="application"
 aria-label="Image to click on; the arrow keys move the cross, Enter sets a point"></canvas></div>
<div class="controls">
<fieldset><legend>image</legend><label class="whole">example <select class="scene"></select></label>
<label class="whole">your own <input type="file" class="file" accept="image/*"></label>
<p class="private">Or drop one on the picture. Your image stays in this browser; nothing is sent
anywhere.</p></fieldset>
<fieldset class="asking"><legend>a click means</legend>
<label><input type="radio" class="mode" value="1" checked> the object</label>
<label><input type="radio" class="mode" value="0"> not this</label>
<label><input type="radio" class="mode" value="box"> a box (drag)</label>
<p>Keys: arrows move the cross, Enter sets, P, N and B choose, Backspace takes back.</p></fieldset>
<div class="buttons"><button type="button" class="undo">Undo</button>
<button type="button" class="clear">Clear</button>
<button type="button" class="auto">All masks</button>
<button type="button" class="map">Landslide map</button></div>
<progress hidden></progress>
<fieldset class="masks" hidden><legend>mask (predicted IoU)</legend></fieldset>
<label class="whole cut" hidden>threshold <output></output>
<input type="range" min="1" max="99" value="50"></label>
<p class="state" aria-live="polite"></p>
<div class="buttons"><button type="button" class="png">Save PNG</button>
<button type="button" class="json">Save GeoJSON</button></div></div></div>`;

class Live {
  constructor(root, base, about, models) {
    Object.assign(this, { root, base, about, models, points: [], box: null, cross: null });
    root.insertAdjacentHTML("beforeend", HTML);
    this.$ = selector => root.querySelector(selector);
    this.canvas = this.$("canvas");
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    const has = name => about.models.includes(name);
    this.prompts = has("decoder");
    for (const name of [".asking", ".auto", ".undo"]) this.$(name).hidden = !this.prompts;
    this.$(".map").hidden = !has("model");
    const group = `mode-${Math.random().toString(36).slice(2)}`;
    root.querySelectorAll(".mode").forEach(e => { e.name = group; });
    this.$(".cut input").value = Math.round(100 * (about.threshold ?? 0.5));
    for (const { file, title } of about.scenes) {
      this.$(".scene").append(make("option", { value: file, textContent: title }));
    }
    this.listen();
  }

  listen() {
    const on = (selector, name, then) => this.$(selector).addEventListener(name, then);
    on(".scene", "change", () => this.open(new URL(this.$(".scene").value, this.base).href));
    on(".file", "change", event => event.target.files[0] && this.openFile(event.target.files[0]));
    on(".undo", "click", () => this.undo());
    on(".clear", "click", () => this.clear());
    on(".auto", "click", () => this.guard(() => this.automatic()));
    on(".map", "click", () => this.guard(() => this.landslides()));
    on(".cut input", "input", () => this.guard(() => this.landslides()));
    on(".png", "click", () => this.savePng());
    on(".json", "click", () => this.saveJson());
    const stage = this.$(".stage");
    for (const name of ["dragover", "dragleave", "drop"]) stage.addEventListener(name, event => {
      event.preventDefault();
      stage.classList.toggle("dropping", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) {
        this.openFile(event.dataTransfer.files[0]);
      }
    });
    if (!this.prompts) return;
    let from = null;
    this.canvas.addEventListener("pointerdown", event => {
      if (event.button) return;
      this.canvas.setPointerCapture?.(event.pointerId);
      from = this.place(event);
    });
    this.canvas.addEventListener("pointermove", event => {
      if (!from || this.mode() !== "box") return;
      this.draft = [from, this.place(event)];
      this.draw();
    });
    this.canvas.addEventListener("pointercancel", () => { from = this.draft = null; });
    this.canvas.addEventListener("pointerup", event => {
      if (!from) return;
      const to = this.place(event), begin = from;
      from = this.draft = this.cross = null;
      if (this.mode() === "box") this.setBox(begin, to); else this.addPoint(to);
    });
    this.canvas.addEventListener("keydown", event => this.key(event));
  }

  mode() { return this.$(".mode:checked").value; }
  place(event) {
    const box = this.canvas.getBoundingClientRect(), { w, h } = this.size;
    const clamp = (v, n) => Math.min(n - 1, Math.max(0, Math.floor(v * n)));
    return [clamp((event.clientX - box.left) / box.width, w),
      clamp((event.clientY - box.top) / box.height, h)];
  }
  key(event) {
    const { w, h } = this.size, step = event.shiftKey ? 1 : Math.max(1, Math.round(w / 32));
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1] }[event.key] || [0, 0];
    const name = event.key.toLowerCase(), mode = { p: "1", n: "0", b: "box" }[name];
    if (event.ctrlKey && name !== "z" || event.altKey || event.metaKey && name !== "z") return;
    this.cross ??= [w >> 1, h >> 1];
    if (dx || dy) {
      this.cross = [Math.min(w - 1, Math.max(0, this.cross[0] + dx * step)),
        Math.min(h - 1, Math.max(0, this.cross[1] + dy * step))];
      if (this.corner) this.draft = [this.corner, this.cross];
      this.say(`Cross at x ${this.cross[0]}, y ${this.cross[1]}.`);
      this.draw();
    } else if (name === "enter" || name === " ") {
      if (this.mode() !== "box") this.addPoint(this.cross);
      else if (!this.corner) {
        this.corner = this.cross;
        this.say("First corner set; move to the other and press Enter.");
      } else {
        const corner = this.corner;
        this.corner = this.draft = null;
        this.setBox(corner, this.cross);
      }
    } else if (name === "backspace" || name === "z" && (event.ctrlKey || event.metaKey)) {
      this.undo();
    } else if (mode) {
      this.$(`.mode[value="${mode}"]`).checked = true;
      this.corner = this.draft = null;
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  say(text) { this.$(".state").textContent = text; }
  async guard(then) {
    try { await then(); } catch (error) { this.say(`That did not work: ${error.message}`); }
  }

  async openFile(file) {
    const url = URL.createObjectURL(file);
    await this.open(url);
    URL.revokeObjectURL(url);
  }
  async open(url) {
    const picture = new Image();
    picture.src = url;
    const opening = this.opening = picture;
    try { await picture.decode(); } catch {
      if (opening !== this.opening) return;
      this.turn = (this.turn || 0) + 1;  // an image that is still on its way says nothing any more
      this.say("This file is no picture that the browser can read; try a PNG or a JPEG.");
      return;
    }
    if (opening !== this.opening) return;  // a later file has overtaken this one
    const turn = this.turn = (this.turn || 0) + 1;  // what an earlier one says is out of date
    const scale = Math.min(1, LARGEST / Math.max(picture.naturalWidth, picture.naturalHeight));
    const size = { w: Math.max(1, Math.round(picture.naturalWidth * scale)),
      h: Math.max(1, Math.round(picture.naturalHeight * scale)) };
    Object.assign(this, { picture, size });
    this.scale = { x: picture.naturalWidth / size.w, y: picture.naturalHeight / size.h };
    this.canvas.width = size.w;
    this.canvas.height = size.h;
    this.fitted();
    this.logits = this.cross = this.corner = null;
    this.clear();
    await this.guard(async () => {
      if (this.prompts) {
        this.embedded = this.models.ask("embed", { image: this.input });
        this.root.dataset.embedMs = (await this.embedded).ms;
        if (turn === this.turn) this.say("Ready. Click on something.");
      } else await this.landslides();
    });
    this.root.dataset.ready = "yes";
  }
  fitted() {  // the model's input: longest side to its square, the rest in SAM's mean colour
    const side = this.about.image_size, { w, h } = this.size, scale = side / Math.max(w, h);
    const fit = { w: Math.max(1, Math.floor(w * scale + 0.5)),
      h: Math.max(1, Math.floor(h * scale + 0.5)) };
    const pen = new OffscreenCanvas(fit.w, fit.h).getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.picture, 0, 0, fit.w, fit.h);
    const rgba = pen.getImageData(0, 0, fit.w, fit.h).data;
    const n = side * side, input = new Float32Array(3 * n);
    for (let c = 0; c < 3; c++) {
      input.fill(PAD[c], c * n, (c + 1) * n);
      for (let y = 0; y < fit.h; y++) for (let x = 0; x < fit.w; x++) {
        input[c * n + y * side + x] = rgba[4 * (y * fit.w + x) + c] / 255;
      }
    }
    Object.assign(this, { fit, input });
  }
  toModel([x, y]) { return [x * this.fit.w / this.size.w, y * this.fit.h / this.size.h]; }
  atNative(logits, n) {
    return native(logits, n, this.about.image_size, this.fit, this.size);
  }

  addPoint(at) {
    this.points.push({ at, kind: Number(this.mode()) });
    this.guard(() => this.answer());
  }
  setBox([a, b], [c, d]) {
    if (Math.abs(a - c) < 2 || Math.abs(b - d) < 2) {
      this.say("A box needs two corners; drag from one to the other.");
      this.draw();
      return;
    }
    this.before = this.box;
    this.box = [[Math.min(a, c), Math.min(b, d)], [Math.max(a, c), Math.max(b, d)]];
    this.points.push({ box: this.before });
    this.guard(() => this.answer());
  }
  undo() {
    const last = this.points.pop();
    if (last && "box" in last) this.box = last.box;
    if (this.points.length) this.guard(() => this.answer()); else this.clear();
  }
  clear() {
    Object.assign(this, { points: [], box: null, shown: [], draft: null, corner: null });
    this.$(".masks").hidden = this.$(".cut").hidden = true;
    this.say("No mask.");
    this.draw();
  }

  async answer() {
    const begin = performance.now(), clicks = this.points.filter(p => p.at);
    const coords = clicks.map(p => this.toModel(p.at)), kinds = clicks.map(p => p.kind);
    if (this.box) {
      coords.push(...this.box.map(p => this.toModel(p)));
      kinds.push(2, 3);
    } else {  // SAM's own form: a point that is none stands in for the box
      coords.push([0, 0]);
      kinds.push(-1);
    }
    const turn = this.turn = (this.turn || 0) + 1;
    await this.embedded;
    const { masks, iou, low } =
      await this.models.ask("decode", { points: coords.flat(), kinds, prompts: 1 });
    if (turn !== this.turn) return;  // a later click has overtaken this one
    const n = low * low;
    this.three = [1, 2, 3].map(i => ({ iou: iou[i],
      mask: over(this.atNative(masks.slice(i * n, (i + 1) * n), low), 0) }));
    this.pick(this.three.reduce((best, m, i) => m.iou > this.three[best].iou ? i : best, 0));
    this.root.dataset.clickMs = performance.now() - begin;
    this.root.dataset.answers = Number(this.root.dataset.answers || 0) + 1;
  }
  pick(which) {
    const box = this.$(".masks"), name = `${this.$(".mode").name}-mask`;
    box.replaceChildren(box.querySelector("legend"), ...this.three.map((m, i) => {
      const input = make("input", { type: "radio", name, value: i, checked: i === which });
      input.addEventListener("change", () => this.show(i));
      return make("label", {}, input, ` ${i + 1} (${m.iou.toFixed(2)})`);
    }));
    box.hidden = false;
    this.$(".cut").hidden = true;
    this.show(which);
  }
  show(which) {
    const chosen = this.three[which], clicks = this.points.filter(p => p.at).length;
    this.shown = [chosen];
    this.say(`${clicks} ${clicks === 1 ? "click" : "clicks"}${this.box ? " and a box" : ""}. `
      + `Mask ${which + 1} of 3, predicted IoU ${chosen.iou.toFixed(2)}, covers `
      + `${percent(share(chosen.mask))} of the image.`);
    this.draw();
  }

  async automatic() {
    const bar = this.$("progress"), { grid, iou: least, stable, offset } = this.about.automatic;
    const { w, h } = this.size, all = [], found = [];
    for (let i = 0; i < grid * grid; i++) {
      all.push([(i % grid + 0.5) * w / grid, (Math.floor(i / grid) + 0.5) * h / grid]);
    }
    this.clear();
    const turn = this.turn = (this.turn || 0) + 1;
    Object.assign(bar, { hidden: false, max: all.length, value: 0 });
    await this.embedded;
    for (let i = 0; i < all.length && turn === this.turn; i += grid) {
      const part = all.slice(i, i + grid);
      const { masks, iou, low } = await this.models.ask("decode", { prompts: part.length,
        points: part.flatMap(p => [...this.toModel(p), 0, 0]), kinds: part.flatMap(() => [1, -1]) });
      const n = low * low;
      for (let p = 0; p < part.length; p++) for (let m = 1; m < 4; m++) {
        const logits = masks.slice((4 * p + m) * n, (4 * p + m + 1) * n);
        if (iou[4 * p + m] >= least && stability(logits, offset) >= stable) {
          found.push({ iou: iou[4 * p + m], logits, low, mask: over(logits, 0) });
        }
      }
      bar.value = i + part.length;
      this.say(`${bar.value} of ${all.length} clicks.`);
    }
    bar.hidden = true;
    if (turn !== this.turn) return;
    this.shown = distinct(found).map(m => ({ iou: m.iou,
      mask: over(this.atNative(m.logits, m.low), 0) })).filter(m => share(m.mask));
    this.say(`${this.shown.length} masks from ${all.length} clicks.`);
    this.root.dataset.masks = this.shown.length;
    this.draw();
  }

  async landslides() {
    const slider = this.$(".cut"), picture = this.picture;
    const turn = this.turn = (this.turn || 0) + 1;
    if (!this.logits) {
      this.say("The map is being computed.");
      const { logits } = await this.models.ask("map", { image: this.input });
      if (picture !== this.picture) return;
      this.logits = this.atNative(logits, this.about.image_size);
    }
    const late = turn !== this.turn;  // a later click, or a file that is no picture
    if (late && this.shown.length) return;
    if (slider.hidden && !late) this.clear();
    const p = Number(slider.querySelector("input").value) / 100;
    const mask = over(this.logits, Math.log(p / (1 - p)));
    slider.hidden = false;
    slider.querySelector("output").textContent = p.toFixed(2);
    this.shown = [{ mask }];
    if (!late) {
      this.say(`The adapted model's map at threshold ${p.toFixed(2)}: ${percent(share(mask))} of `
        + "the image is landslide.");
    }
    this.draw();
  }

  draw() {
    const { pen, size: { w, h } } = this;
    pen.drawImage(this.picture, 0, 0, w, h);
    const image = pen.getImageData(0, 0, w, h);
    this.shown.forEach(({ mask }, k) => {
      const colour = COLOURS[k % COLOURS.length];
      const rgb = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
      const rim = edge(mask, w);
      for (let i = 0; i < mask.length; i++) if (mask[i]) for (let c = 0; c < 3; c++) {
        const t = rim[i] ? 1 : 0.4;
        image.data[4 * i + c] = (1 - t) * image.data[4 * i + c] + t * rgb[c];
      }
    });
    pen.putImageData(image, 0, 0);
    const r = Math.max(w, h) / 60, line = (colour, width) =>
      Object.assign(pen, { strokeStyle: colour, lineWidth: width * r / 4 });
    const twice = shape => {  // light on dark, to be seen on anything
      for (const args of [["#000000", 3], ["#ffffff", 1.2]]) {
        line(...args);
        pen.beginPath();
        shape();
        pen.stroke();
      }
    };
    const box = this.draft || this.box;
    if (box) twice(() => pen.rect(...box[0], box[1][0] - box[0][0], box[1][1] - box[0][1]));
    for (const { at: [x, y] = [], kind } of this.points) if (x !== undefined) twice(() => {
      pen.moveTo(x - r, y + 0.5);
      pen.lineTo(x + r, y + 0.5);
      if (kind) { pen.moveTo(x + 0.5, y - r); pen.lineTo(x + 0.5, y + r); }
    });
    if (this.cross) twice(() => pen.arc(this.cross[0] + 0.5, this.cross[1] + 0.5, r, 0, 7));
  }

  save(blob, name) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  async savePng() {  // the mask at the size of the image: white where it is
    if (!this.shown.length) { this.say("There is no mask to save."); return; }
    const { w, h } = this.size, image = new ImageData(w, h);
    for (let i = 0; i < w * h; i++) {
      const on = this.shown.some(({ mask }) => mask[i]) ? 255 : 0;
      image.data.set([on, on, on, 255], 4 * i);
    }
    const small = new OffscreenCanvas(w, h);
    small.getContext("2d").putImageData(image, 0, 0);
    const large = new OffscreenCanvas(this.picture.naturalWidth, this.picture.naturalHeight);
    const pen = large.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, large.width, large.height);
    this.save(await large.convertToBlob({ type: "image/png" }), "mask.png");
  }
  saveJson() {
    if (!this.shown.length) { this.say("There is no mask to save."); return; }
    const text = JSON.stringify(geojson(this.shown, this.size.w, this.size.h, this.scale));
    this.save(new Blob([text], { type: "application/geo+json" }), "masks.geojson");
  }
}

// a worker that is ready; where WebGPU fails, or is not ready in time, another one without it
const loaded = async (base, about, step, gpu = true) => {
  const models = new Models(new URL("live_worker.js", base));
  let build;
  try {
    ({ build } = await models.ask("load", { base: String(base), about, gpu }, step));
    const first = [models.ask("begin")];
    if (build === "webgpu") first.push(new Promise((_, fail) =>
      setTimeout(fail, about.patience ?? PATIENCE, new Error("WebGPU is not ready"))));
    await Promise.race(first);
    return { models, build };
  } catch (error) {
    models.worker.terminate();
    if (build !== "webgpu") throw error;
    return loaded(base, about, step, false);
  }
};

// `picture`: an address to begin with instead of the first example
export const start = async (root, base, picture = "") => {
  const button = root.querySelector(".load"), state = root.querySelector(".loading");
  const focused = document.activeElement === button;
  button.disabled = true;
  try {
    const begin = performance.now();
    const about = await (await fetch(new URL("page.json", base))).json();
    const { models, build } = await loaded(base, about, bytes => {
      state.textContent = `${(bytes / 1e6).toFixed(1)} MB have come.`;
    });
    Object.assign(root.dataset, { loadMs: performance.now() - begin, device: build });
    root.querySelectorAll(".before").forEach(e => { e.hidden = true; });
    root.live = new Live(root, base, about, models);
    if (picture) {
      root.live.$(".scene").prepend(make("option", { value: picture, textContent: "this image" }));
      root.live.$(".scene").selectedIndex = 0;
    }
    if (focused) root.live.canvas.focus();  // the button that had it is gone
    await root.live.open(picture || new URL(about.scenes[0].file, base).href);
  } catch (error) {
    button.disabled = false;
    state.textContent = `The model could not be loaded (${error.message}). Try again.`;
  }
};
