// A map: the SVG's view box is what is seen. data.shapes: [x, y, width, height, words].
const show = (root, data) => {
  const svg = root.querySelector("svg"), state = root.querySelector(".state");
  const whole = { x: 0, y: 0, width: data.width };
  let view = { ...whole }, at = -1, drag = null;
  const shape = () => data.height / data.width;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
  const set = next => {
    const width = clamp(next.width, data.width / 40, data.width);
    view = { width, x: clamp(next.x, 0, data.width - width),
      y: clamp(next.y, 0, data.height - width * shape()) };
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${width} ${width * shape()}`);
  };
  const say = words => {
    const across = data.metres ? view.width * data.metres : 0;
    const size = across >= 2000 ? `${(across / 1000).toFixed(1)} km` : `${Math.round(across)} m`;
    const zoom = `Zoom ${(data.width / view.width).toFixed(1)}`;
    state.textContent = [words, data.metres ? `${zoom}, ${size} across.` : `${zoom}.`]
      .filter(Boolean).join(" ");
  };
  const zoom = (factor, x = view.x + view.width / 2, y = view.y + view.width * shape() / 2) => {
    const width = clamp(view.width / factor, data.width / 40, data.width);
    const share = width / view.width;
    set({ width, x: x - (x - view.x) * share, y: y - (y - view.y) * share });
    say("");
  };
  const choose = step => {
    const shown = data.shapes.map((_, i) => i).filter(i => {
      const path = svg.querySelector(`[data-shape="${i}"]`);
      return !path.parentNode.hasAttribute("visibility");
    });
    if (!shown.length) { say("No outlines are switched on."); return; }
    const place = shown.indexOf(at);
    const next = place < 0 ? (step > 0 ? 0 : shown.length - 1) : place + step + shown.length;
    mark(shown[next % shown.length], true);
  };
  const mark = (index, move) => {
    svg.querySelectorAll("[data-shape]").forEach(path => path.removeAttribute("stroke-dasharray"));
    at = index;
    svg.querySelector(`[data-shape="${index}"]`).setAttribute("stroke-dasharray", "6 3");
    const [x, y, width, height, words] = data.shapes[index];
    if (move) {
      const side = Math.max(width, height / shape()) * 4;
      const wide = clamp(side, data.width / 40, data.width);
      set({ width: wide, x: x + width / 2 - wide / 2, y: y + height / 2 - wide * shape() / 2 });
    }
    say(`Landslide ${index + 1} of ${data.shapes.length}: ${words}.`);
  };
  const place = event => {
    const box = svg.getBoundingClientRect();
    return [view.x + (event.clientX - box.left) / box.width * view.width,
      view.y + (event.clientY - box.top) / box.height * view.width * shape()];
  };
  svg.addEventListener("pointerdown", event => {
    svg.focus();
    drag = { x: event.clientX, y: event.clientY, from: { ...view }, moved: false };
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    if (!drag) return;
    const scale = drag.from.width / svg.getBoundingClientRect().width;
    const [across, down] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.moved = drag.moved || Math.hypot(across, down) > 4;
    set({ ...drag.from, x: drag.from.x - across * scale, y: drag.from.y - down * scale });
  });
  svg.addEventListener("pointerup", event => {
    const moved = drag && drag.moved;
    drag = null;
    if (moved) { say(""); return; }
    const [x, y] = place(event);
    const inside = data.shapes.findIndex(([left, top, width, height], i) =>
      x >= left && x <= left + width && y >= top && y <= top + height
      && !svg.querySelector(`[data-shape="${i}"]`).parentNode.hasAttribute("visibility"));
    if (inside >= 0) mark(inside, false);
  });
  svg.addEventListener("pointercancel", () => { drag = null; });
  svg.addEventListener("wheel", event => {
    if (document.activeElement !== svg) return;  // the page scrolls until the map is chosen
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, ...place(event));
  }, { passive: false });
  const step = () => view.width / 8;
  const keys = {
    ArrowLeft: () => set({ ...view, x: view.x - step() }),
    ArrowRight: () => set({ ...view, x: view.x + step() }),
    ArrowUp: () => set({ ...view, y: view.y - step() }),
    ArrowDown: () => set({ ...view, y: view.y + step() }),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5),
    0: () => { set(whole); say(""); },
    n: () => choose(1), p: () => choose(-1),
  };
  svg.addEventListener("keydown", event => {
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
    if (event.key.startsWith("Arrow")) say("");
  });
  const tools = { in: keys["+"], out: keys["-"], all: keys[0], next: keys.n, previous: keys.p };
  root.querySelectorAll("[data-do]").forEach(button =>
    button.addEventListener("click", tools[button.dataset.do]));
  const layers = svg.querySelectorAll("[data-layer]");
  root.querySelectorAll("[data-switch]").forEach(box => box.addEventListener("change", () => {
    const layer = layers[Number(box.dataset.switch)];
    if (box.checked) layer.removeAttribute("visibility");
    else layer.setAttribute("visibility", "hidden");
  }));
  say(state.textContent);
};
