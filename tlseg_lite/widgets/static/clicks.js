// Click to segment. data.masks holds three masks for each click, row by row.
const show = (root, data) => {
  const canvas = root.querySelector("canvas"), width = canvas.width, size = width * canvas.height;
  const runs = unpack(data.masks.runs), columns = data.x.length;
  const known = data.target && unrun(unpack(data.target.runs), 0, data.target.starts[1], size);
  let at = data.first;
  const mask = i => unrun(runs, data.masks.starts[i], data.masks.starts[i + 1], size);
  const draw = () => {
    const picked = Number(root.querySelector("input[type=radio]:checked").value);
    const three = data.scores[at];
    const which = picked < 3 ? picked : three.indexOf(Math.max(...three));
    const shown = mask(3 * at + which);
    const layers = [[shown, data.colours.mask, data.fill],
      [border(shown, width), data.colours.mask, 1]];
    if (known && root.querySelector(".known").checked) {
      layers.push([border(known, width), data.colours.target, 1]);
    }
    const context = paint(canvas, layers);
    const x = data.x[at % columns], y = data.y[Math.floor(at / columns)];
    const centre = [(x + 0.5) / data.step, (y + 0.5) / data.step], radius = width / 50;
    context.beginPath();
    context.arc(...centre, radius, 0, 7);
    context.lineWidth = width / 150;
    context.fillStyle = "#ffffff";
    context.fill();
    context.strokeStyle = "#000000";
    context.stroke();
    const ious = data.ious[at];
    root.querySelector(".state").textContent =
      `Click at x ${x}, y ${y}. Mask ${which + 1} of 3, the model's score `
      + `${three[which].toFixed(2)} (all three: ${three.map(s => s.toFixed(2)).join(", ")}), `
      + `covers ${percent(data.shares[at][which])} of the image.`
      + (ious ? ` IoU with the ${data.targetName}: ${ious[which].toFixed(2)} `
        + `(best of three ${Math.max(...ious).toFixed(2)}).` : "");
  };
  const nearest = (places, value) => places.reduce(
    (best, place, i) => Math.abs(place - value) < Math.abs(places[best] - value) ? i : best, 0);
  const move = event => {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * width * data.step;
    const y = (event.clientY - box.top) / box.height * canvas.height * data.step;
    at = nearest(data.y, y) * columns + nearest(data.x, x);
    draw();
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
    at = clamp(Math.floor(at / columns) + down, data.y.length) * columns
      + clamp(at % columns + right, columns);
    draw();
  });
  root.querySelectorAll("input").forEach(input => input.addEventListener("change", draw));
  draw();
};
