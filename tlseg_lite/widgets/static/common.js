// The frame of every control. `show(root, data)` is in the control's own file.
const whenThere = (name, then, tries = 200) => {
  const root = document.getElementById(name);  // some notebooks run scripts before they attach them
  if (root) then(root);
  else if (tries) setTimeout(whenThere, 25, name, then, tries - 1);
};
const ready = root => {
  root.querySelectorAll(".still").forEach(e => { e.hidden = true; });
  root.querySelectorAll("[data-live]").forEach(e => e.removeAttribute("data-live"));
  root.dataset.ready = "yes";
};
const unpack = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
// run lengths, the first of background, as seven-bit groups: into 0 and 1
const unrun = (bytes, start, end, size) => {
  const mask = new Uint8Array(size);
  let at = 0, value = 0;
  while (start < end) {
    let length = 0, shift = 0, byte;
    do {
      byte = bytes[start++];
      length |= (byte & 127) << shift;
      shift += 7;
    } while (byte & 128);
    if (value) mask.fill(1, at, at + length);
    at += length;
    value = 1 - value;
  }
  return mask;
};
const border = (mask, width) => mask.map((on, i) => {
  const x = i % width;
  return on && !(x && mask[i - 1] && x < width - 1 && mask[i + 1]
    && mask[i - width] && mask[i + width]) ? 1 : 0;
});
// layers [[mask, "#rrggbb", opacity], ...] on a canvas, later ones on top
const paint = (canvas, layers) => {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (const [mask, colour, opacity] of layers) {
    const [r, g, b] = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
    for (let i = 0; i < mask.length; i++) {
      if (mask[i]) image.data.set([r, g, b, Math.round(255 * opacity)], 4 * i);
    }
  }
  context.putImageData(image, 0, 0);
  return context;
};
const ratio = (part, whole, absent) => whole ? part / whole : absent ? 1 : 0;
// the same rules as tlseg_lite.metrics.score_values
const scores = ([tp, fp, fn, tn]) => {
  const noSlide = tp + fp + fn === 0, noGround = tn + fn + fp === 0;
  const slideP = ratio(tp, tp + fp, noSlide), slideR = ratio(tp, tp + fn, noSlide);
  const groundP = ratio(tn, tn + fn, noGround), groundR = ratio(tn, tn + fp, noGround);
  const slideIou = ratio(tp, tp + fp + fn, noSlide), groundIou = ratio(tn, tn + fp + fn, noGround);
  const precision = (slideP + groundP) / 2, recall = (slideR + groundR) / 2;
  return {
    oa: (tp + tn) / (tp + fp + fn + tn),
    precision,
    recall,
    f1: ratio(2 * precision * recall, precision + recall, false),
    miou: (slideIou + groundIou) / 2,
    landslide_precision: slideP,
    landslide_recall: slideR,
    landslide_f1: ratio(2 * tp, 2 * tp + fp + fn, noSlide),
    landslide_iou: slideIou,
  };
};
const percent = (value, digits = 1) => (100 * value).toFixed(digits) + " %";
// the rows of a score table; `values` as from scores()
const fillTable = (table, values) => table.querySelectorAll("[data-score]").forEach(row => {
  const value = values[row.dataset.score];
  row.querySelector(".number").textContent = percent(value);
  row.querySelector(".bar span").style.width = percent(value).replace(" ", "");
});
// pointer and arrow keys choose one of the places of a grid, data.x by data.y, on a canvas that
// shows every data.step-th pixel: chosen(index) after each
const aim = (canvas, data, chosen) => {
  const columns = data.x.length;
  let at = data.first;
  const go = index => { at = index; chosen(at); };
  const nearest = (places, value) => places.reduce(
    (best, place, i) => Math.abs(place - value) < Math.abs(places[best] - value) ? i : best, 0);
  const move = event => {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * canvas.width * data.step;
    const y = (event.clientY - box.top) / box.height * canvas.height * data.step;
    go(nearest(data.y, y) * columns + nearest(data.x, x));
  };
  canvas.addEventListener("pointerdown", event => { canvas.focus(); move(event); });
  canvas.addEventListener("pointermove", event => { if (event.buttons) move(event); });
  canvas.addEventListener("keydown", event => {
    const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1] }[event.key] || [0, 0];
    if (!right && !down) return;
    event.preventDefault();
    event.stopPropagation();
    const clamp = (value, n) => Math.min(n - 1, Math.max(0, value));
    go(clamp(Math.floor(at / columns) + down, data.y.length) * columns
      + clamp(at % columns + right, columns));
  });
};
// a white disc where place `at` of the grid is
const markPlace = (context, data, at) => {
  const width = context.canvas.width, columns = data.x.length;
  const x = data.x[at % columns], y = data.y[Math.floor(at / columns)];
  context.beginPath();
  context.arc((x + 0.5) / data.step, (y + 0.5) / data.step, width / 50, 0, 7);
  context.lineWidth = width / 150;
  context.fillStyle = "#ffffff";
  context.fill();
  context.strokeStyle = "#000000";
  context.stroke();
  return [x, y];
};
