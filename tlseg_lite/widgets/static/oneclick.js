// Correct with a click. data.masks holds the mask without a click, and then two for each place, row
// by row: after "no landslide here" and after "landslide here".
const show = (root, data) => {
  const canvas = root.querySelector("canvas"), width = canvas.width, size = width * canvas.height;
  const runs = unpack(data.masks.runs);
  const known = data.target && unrun(unpack(data.target.runs), 0, data.target.starts[1], size);
  const kinds = [...root.querySelectorAll("input[type=radio]")];
  let at = data.first;
  const draw = () => {
    const kind = Number(kinds.find(input => input.checked).value);
    const which = kind < 0 ? 0 : 1 + 2 * at + kind;
    const shown = unrun(runs, data.masks.starts[which], data.masks.starts[which + 1], size);
    const layers = [[shown, data.colours.mask, data.fill],
      [border(shown, width), data.colours.mask, 1]];
    if (known && root.querySelector(".known").checked) {
      layers.push([border(known, width), data.colours.target, 1]);
    }
    const context = paint(canvas, layers);
    const share = percent(data.shares[which]), iou = data.ious && data.ious[which].toFixed(2);
    const fit = iou ? ` IoU with the ${data.targetName}: ${iou}` : "";
    if (kind < 0) {
      root.querySelector(".state").textContent =
        `No click: ${share} of the image is landslide.` + (fit && `${fit}.`);
      return;
    }
    const [x, y] = markPlace(context, data, at);
    root.querySelector(".state").textContent =
      `Click at x ${x}, y ${y} (${kind ? "landslide" : "no landslide"}): ${share} of the image is `
      + `landslide, ${percent(data.shares[0])} without the click.`
      + (fit && `${fit}, ${data.ious[0].toFixed(2)} without the click.`);
  };
  const pick = kind => { kinds.find(input => Number(input.value) === kind).checked = true; };
  let byRight = false;  // after a right click the next left one says "landslide" again
  canvas.addEventListener("pointerdown", event => {
    const right = event.button === 2 || event.shiftKey;
    if (right) pick(0);
    else if (byRight || Number(kinds.find(input => input.checked).value) < 0) pick(1);
    byRight = right;
  });
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  canvas.addEventListener("keydown", event => {
    const kind = { Enter: 1, Delete: 0, Backspace: 0, u: -1, U: -1 }[event.key];
    if (kind === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    pick(kind);
    draw();
  });
  aim(canvas, data, place => { at = place; draw(); });
  root.querySelectorAll("input").forEach(input => input.addEventListener("change", () => {
    byRight = false;
    draw();
  }));
  draw();
};
