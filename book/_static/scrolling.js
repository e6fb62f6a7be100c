// Wide things in narrow places. A table or a figure that is wider than its place scrolls by itself:
// then it says so, and the keyboard reaches it. Long names of code break behind a dot or an underscore.
const mark = (wide) => {
  const moves = /auto|scroll/.test(getComputedStyle(wide).overflowX);
  const scrolls = moves && wide.clientWidth > 0 && wide.scrollWidth > wide.clientWidth + 8;
  if (scrolls === wide.classList.contains("scrolls")) return;
  wide.classList.toggle("scrolls", scrolls);
  if (scrolls) wide.tabIndex = 0;
  else wide.removeAttribute("tabindex");
};
const breakable = (text) => {
  const parts = text.data.split(/(?<=[._])(?=.)/);
  text.replaceWith(...parts.flatMap((p, i) => (i ? [document.createElement("wbr"), p] : [p])));
};
addEventListener("load", () => {
  const names = ".bd-article :is(dt.sig .sig-prename .pre, dt.sig .sig-name .pre, h3)";
  for (const name of document.querySelectorAll(names))
    for (const child of [...name.childNodes]) if (child.nodeType === 3) breakable(child);
  const seen = new ResizeObserver((changes) => changes.forEach(({ target }) => mark(target)));
  for (const wide of document.querySelectorAll(".bd-article :is(table, figure)")) {
    mark(wide);
    seen.observe(wide); // folded parts get a width when they are opened
  }
});
