// Masks as arrays: from logits to pixels, to outlines, to files. Nothing here knows the page.

// bilinear, as PyTorch's interpolate(align_corners=False): (h, w) of `from` read at (H, W)
const resample = (from, w, h, W, H) => {
  const out = new Float32Array(W * H), axis = (n, N) => Array.from({ length: N }, (_, i) => {
    const at = Math.max(0, (i + 0.5) * n / N - 0.5), low = Math.min(n - 1, Math.floor(at));
    return [low, Math.min(n - 1, low + 1), at - low];
  });
  const xs = axis(w, W), ys = axis(h, H);
  for (let y = 0; y < H; y++) {
    const [a, b, t] = ys[y];
    for (let x = 0; x < W; x++) {
      const [l, r, s] = xs[x];
      const top = from[a * w + l] * (1 - s) + from[a * w + r] * s;
      const low = from[b * w + l] * (1 - s) + from[b * w + r] * s;
      out[y * W + x] = top * (1 - t) + low * t;
    }
  }
  return out;
};
// logits of a square of `n` -> logits of the image; `side` is the model's, `fit` the image in it
export const native = (logits, n, side, fit, size) => {
  const whole = n === side ? logits : resample(logits, n, n, side, side);
  if (fit.w === size.w && fit.h === size.h && fit.w === side && fit.h === side) return whole;
  const cut = new Float32Array(fit.w * fit.h);
  for (let y = 0; y < fit.h; y++) {
    cut.set(whole.subarray(y * side, y * side + fit.w), y * fit.w);
  }
  return resample(cut, fit.w, fit.h, size.w, size.h);
};
export const over = (logits, cut) => Uint8Array.from(logits, v => v > cut ? 1 : 0);
export const share = mask => mask.reduce((a, b) => a + b, 0) / mask.length;
export const edge = (mask, width) => mask.map((on, i) => {
  const x = i % width;
  return on && !(x && mask[i - 1] && x < width - 1 && mask[i + 1]
    && mask[i - width] && mask[i + width]) ? 1 : 0;
});
// the automatic mode's choice: sure and stable masks, each thing once, the surest first
export const distinct = (found, most = 0.7) => {
  const kept = [];
  const overlap = (a, b) => {
    let both = 0, either = 0;
    for (let i = 0; i < a.length; i++) { both += a[i] & b[i]; either += a[i] | b[i]; }
    return either ? both / either : 1;
  };
  for (const one of [...found].sort((a, b) => b.iou - a.iou)) {
    if (kept.every(other => overlap(one.mask, other.mask) <= most)) kept.push(one);
  }
  return kept;
};
// share of a mask that stays when the threshold moves by `offset` either way, as in SAM
export const stability = (logits, offset) => {
  let inner = 0, outer = 0;
  for (const v of logits) { inner += v > offset; outer += v > -offset; }
  return outer ? inner / outer : 0;
};
// outlines along the pixels' borders: rings of [x, y] around the mask's parts, holes the other way
export const rings = (mask, w, h) => {
  const at = (x, y) => x >= 0 && y >= 0 && x < w && y < h && mask[y * w + x];
  const next = new Map(), key = (x, y) => y * (w + 1) + x;
  const add = (x0, y0, x1, y1) => {
    const from = key(x0, y0);
    if (!next.has(from)) next.set(from, []);
    next.get(from).push([x0, y0, x1, y1]);
  };
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) if (at(x, y)) {  // inside on the right
    if (!at(x, y - 1)) add(x, y, x + 1, y);
    if (!at(x + 1, y)) add(x + 1, y, x + 1, y + 1);
    if (!at(x, y + 1)) add(x + 1, y + 1, x, y + 1);
    if (!at(x - 1, y)) add(x, y + 1, x, y);
  }
  const found = [];
  for (const edges of next.values()) while (edges.length) {
    let [x0, y0, x, y] = edges.pop();
    const start = key(x0, y0), ring = [[x0, y0]];
    let dx = x - x0, dy = y - y0;
    while (key(x, y) !== start) {
      const ways = next.get(key(x, y));  // where two parts touch, keep to the part: turn right
      let pick = ways.findIndex(([a, b, c, d]) => c - a === -dy && d - b === dx);
      if (pick < 0) pick = 0;
      const [a, b, c, d] = ways.splice(pick, 1)[0];
      if (c - a !== dx || d - b !== dy) ring.push([a, b]);
      [dx, dy, x, y] = [c - a, d - b, c, d];
    }
    ring.push(ring[0]);
    found.push(ring);
  }
  return found;
};
const area = ring => ring.slice(1).reduce((sum, [x, y], i) =>
  sum + ring[i][0] * y - x * ring[i][1], 0) / 2;
const inside = ([x, y], ring) => {
  let odd = false;
  for (let i = 1; i < ring.length; i++) {
    const [[a, b], [c, d]] = [ring[i - 1], ring[i]];
    if ((b > y) !== (d > y) && x < a + (y - b) / (d - b) * (c - a)) odd = !odd;
  }
  return odd;
};
// GeoJSON in pixels of the image: x to the right, y down, (0, 0) the upper left corner
export const geojson = (masks, w, h, scale) => {
  const features = masks.map(({ mask, iou }) => {
    const all = rings(mask, w, h), outer = all.filter(r => area(r) > 0).map(r => [r]);
    for (const hole of all.filter(r => area(r) < 0)) {
      // a point just inside the mask beside the hole's first edge
      const [[a, b], [c, d]] = hole, dx = Math.sign(c - a), dy = Math.sign(d - b);
      const point = [a + dx / 2 - dy / 2, b + dy / 2 + dx / 2];
      const around = outer.filter(([r]) => inside(point, r))
        .sort(([r], [s]) => area(r) - area(s))[0];
      if (around) around.push(hole);
    }
    const coordinates = outer.map(polygon => polygon.map(ring => ring.map(([x, y]) =>
      [x * scale.x, y * scale.y])));
    return { type: "Feature", properties: iou === undefined ? {} : { predicted_iou: iou },
      geometry: { type: "MultiPolygon", coordinates } };
  });
  return { type: "FeatureCollection",
    coordinates_are: "pixels of the image, x right and y down, no map coordinates", features };
};
