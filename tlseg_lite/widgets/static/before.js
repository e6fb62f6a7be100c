const show = (root, data) => {
  const slider = root.querySelector("input"), after = root.querySelector(".after");
  const draw = () => {
    const share = Number(slider.value);
    after.style.clipPath = `inset(0 0 0 ${share}%)`;
    root.querySelector(".edge").style.left = `${share}%`;
    const text = `${share} % ${data.titles[0]}, ${100 - share} % ${data.titles[1]}`;
    root.querySelector("output").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  slider.addEventListener("input", draw);
  draw();
};
