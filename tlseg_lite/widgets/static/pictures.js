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
  const button = root.querySelector("button");
  if (!button) return;
  const state = root.querySelector(".state");
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
    state.setAttribute("aria-live", "polite");
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) === data.titles.length - 1) slider.value = 0;
    else slider.value = Number(slider.value) + 1;
    draw();
    button.textContent = "Stop";
    state.setAttribute("aria-live", "off"); // nobody wants every frame read out
    timer = setInterval(() => {
      if (Number(slider.value) >= data.titles.length - 1) return stop();
      slider.value = Number(slider.value) + 1;
      draw();
    }, data.pause);
  });
};
