// Parameters of an adapter in closed form, as in tlseg_lite.widgets.budget.
const adapterParameters = (width, depth, d, middle, source, patch) => {
  const kinds = { m: d * d + d, c: 9 * d * d + 3 * d };
  const middles = [...middle].reduce((sum, kind) => sum + kinds[kind], 0);
  const down = width * d + d, up = d * width + width;
  return source === "block" ? depth * (down + middles + up)
    : down + 3 * patch * patch * d + d + depth * middles + up;
};
const show = (root, data) => {
  const part = name => root.querySelector("." + name);
  const write = (name, text) => { root.querySelector(`[data-row=${name}]`).textContent = text; };
  const whole = number => number.toLocaleString("en-US");
  const million = number => (number / 1e6).toFixed(2);
  const draw = () => {
    const sam = part("sam").value, model = data.models[sam], d = Number(part("d").value);
    const adapters = adapterParameters(model.width, model.depth, d, part("middle").value,
      part("source").value, data.patch);
    const trainable = adapters + model.decoder, total = trainable + model.frozen;
    root.querySelector("output").textContent = d;
    write("adapters", whole(adapters));
    write("decoder", whole(model.decoder));
    write("trainable", whole(trainable));
    write("total", whole(total));
    write("share", percent(trainable / total, 2));
    const printed = data.printed.find(([, t, all]) => sam === "vit_l"
      && million(trainable) === t.toFixed(2) && million(total) === all.toFixed(2));
    part("state").textContent = `${million(trainable)} M train, ${million(total)} M in all: `
      + (printed ? `the budget that the ${printed[0]} paper prints` : "no printed budget")
      + `. Of what trains, ${percent(adapters / trainable)} are adapters.`;
  };
  root.querySelectorAll("select, input").forEach(e => e.addEventListener("input", draw));
  draw();
};
