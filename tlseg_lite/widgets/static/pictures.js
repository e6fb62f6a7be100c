const show = (root, data) => {
  const slider = root.querySelector("input"), image = root.querySelector("img");
  const draw = () => {
    const i = Number(slider.value), title = document.createElement("strong");
    image.src = data.pictures[i];
    image.alt = data.alts[i];
    title.textContent = data.titles[i] + ".";
    root.querySelector(".state").replaceChildren(title, " " + data.alts[i]);
    root.querySelector("output").textContent = `${i + 1} of ${data.titles.length}`;
    slider.setAttribute("aria-valuetext", `${i + 1}: ${data.titles[i]}`);
  };
  slider.addEventListener("input", draw);
  draw();
};
