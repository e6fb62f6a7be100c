// Three sliders, the confusion matrix that they make, and its scores.
const matrix = (share, recall, precision) => {
  const tp = share * recall, fp = Math.min(tp * (1 / precision - 1), 1 - share);
  return [tp, fp, share - tp, 1 - share - fp];
};
const show = (root, data) => {
  const inputs = ["share", "recall", "precision"].map(name => root.querySelector("." + name));
  const draw = () => {
    const counts = matrix(...inputs.map(input => input.value / 100));
    inputs.forEach(input => {
      input.parentElement.querySelector("output").textContent = `${input.value} %`;
      input.setAttribute("aria-valuetext", `${input.value} percent`);
    });
    root.querySelector(".state").textContent = ["TP", "FP", "FN", "TN"]
      .map((name, i) => `${name} ${percent(counts[i], 2)}`).join(", ");
    fillTable(root, scores(counts));
    const [tp, fp, fn] = counts.map(value => Math.round(1e4 * value));
    const kind = i => i < tp ? "TP" : i < tp + fn ? "FN" : i < tp + fn + fp ? "FP" : "TN";
    paint(root.querySelector("canvas"), Object.entries(data.kinds).map(([name, colour]) =>
      [Uint8Array.from({ length: 1e4 }, (_, i) => kind(i) === name), colour, 1]));
  };
  inputs.forEach(input => input.addEventListener("input", draw));
  draw();
};
