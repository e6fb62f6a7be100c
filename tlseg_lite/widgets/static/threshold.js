// A pixel is landslide at threshold k where its level is above k.
const show = (root, data) => {
  const slider = root.querySelector("input[type=range]"), canvas = root.querySelector("canvas");
  const select = root.querySelector("select"), stage = root.querySelector(".stage");
  const pictures = data.pictures.map(p => ({ ...p, levels: unpack(p.levels),
    truth: unrun(unpack(p.truth.runs), 0, p.truth.starts[1], p.width * p.height) }));
  const draw = () => {
    const k = Number(slider.value), picture = pictures[select.value];
    root.querySelector("output").textContent = `${k + 1} %`;
    slider.setAttribute("aria-valuetext", `${k + 1} percent`);
    const { levels, truth } = picture, kinds = { TP: [1, 1], FN: [0, 1], FP: [1, 0] };
    paint(canvas, Object.entries(data.kinds).map(([name, colour]) => [
      truth.map((known, i) => Number(levels[i] > k) === kinds[name][0] && known === kinds[name][1]
        ? 1 : 0), colour, data.opacity]));
    const counts = picture.counts[k], [tp, fp, fn] = counts;
    root.querySelector(".state").textContent =
      `Threshold ${k + 1} %. In the image ${picture.id}: ${tp} pixels found, ${fn} missed, `
      + `${fp} false alarms, landslide IoU ${percent(scores(counts).landslide_iou)}.`;
    fillTable(root, scores(data.counts[k]));
  };
  select.addEventListener("change", () => {
    const picture = pictures[select.value], image = stage.querySelector("img");
    canvas.width = picture.width;
    canvas.height = picture.height;
    stage.style.aspectRatio = `${picture.width}/${picture.height}`;
    image.src = picture.uri;
    image.alt = image.alt.replace(/^The image .* with /, `The image ${picture.id} with `);
    draw();
  });
  slider.addEventListener("input", draw);
  root.querySelector("button").addEventListener("click", () => { slider.value = data.best; draw(); });
  draw();
};
