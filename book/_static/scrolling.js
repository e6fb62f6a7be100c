// A table or a figure that is wider than its place scrolls by itself. Then it says so, and the
// keyboard reaches it.
const mark = (wide) => {
  const moves = /auto|scroll/.test(getComputedStyle(wide).overflowX);
  const scrolls = moves && wide.clientWidth > 0 && wide.scrollWidth > wide.clientWidth + 8;
  if (scrolls === wide.classList.contains("scrolls")) return;
  wide.classList.toggle("scrolls", scrolls);
  if (scrolls) wide.tabIndex = 0;
  else wide.removeAttribute("tabindex");
};
addEventListener("load", () => {
  const seen = new ResizeObserver((changes) => changes.forEach(({ target }) => mark(target)));
  for (const wide of document.querySelectorAll(".bd-article :is(table, figure)")) {
    mark(wide);
    seen.observe(wide); // folded parts get a width when they are opened
  }
});
