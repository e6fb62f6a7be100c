// Click to segment. data.masks holds three masks for each click, row by row.
const show = (root, data) => {
  const canvas = root.querySelector("canvas"), width = canvas.width, size = width * canvas.height;
  const runs = unpack(data.masks.runs);
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
    const [x, y] = markPlace(paint(canvas, layers), data, at);
    const ious = data.ious[at];
    root.querySelector(".state").textContent =
      `Click at x ${x}, y ${y}. Mask ${which + 1} of 3, predicted IoU `
      + `${three[which].toFixed(2)} (all three: ${three.map(s => s.toFixed(2)).join(", ")}), `
      + `covers ${percent(data.shares[at][which])} of the image.`
      + (ious ? ` IoU with the ${data.targetName}: ${ious[which].toFixed(2)} `
        + `(best of three ${Math.max(...ious).toFixed(2)}).` : "");
  };
  aim(canvas, data, place => { at = place; draw(); });
  root.querySelectorAll("input").forEach(input => input.addEventListener("change", draw));
  draw();
};
