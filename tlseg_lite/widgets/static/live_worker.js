// The models, beside the page's own thread: messages {id, kind, ...} in, {id, ...} out.
let ort, build, models, beside, sessions, embedding, side;

// a file, unpacked where it is packed (some servers unpack .gz by themselves)
const read = async (name, came) => {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
  const parts = [], reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    came(value.length);
  }
  const blob = new Blob(parts), start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (start[0] !== 0x1f || start[1] !== 0x8b) return blob.arrayBuffer();
  return new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
};

// whether there is a graphics processor; one that the browser imitates is slower than the processor
const hasGpu = async imitated => {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter && (imitated || !adapter.info?.isFallbackAdapter));
  } catch {
    return false;
  }
};

// sessions of all models; `beside` holds the weights that they share
const create = async (models, beside, executionProviders) => {
  const made = {}, externalData = beside.map(({ path, data }) =>
    ({ path, data: new Uint8Array(data) }));
  for (const [name, bytes] of Object.entries(models)) {
    made[name] = await ort.InferenceSession.create(new Uint8Array(bytes),
      { executionProviders, logSeverityLevel: 3, ...(externalData.length ? { externalData } : {}) });
  }
  return made;
};

const answers = {
  // all files that are needed, with the bytes that have come as progress
  async load({ id, base, about, gpu }) {
    side = about.image_size;
    build = gpu && await hasGpu(about.imitated) ? "webgpu" : "wasm";
    const [script, helper, binary] = about.runtime[build];
    const url = name => new URL(name, base).href;
    let bytes = 0;
    const came = n => postMessage({ id, progress: bytes += n });
    ort = await import(url(script));
    ort.env.wasm.numThreads = self.crossOriginIsolated
      ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
    ort.env.wasm.wasmPaths = { mjs: url(helper) };
    ort.env.wasm.wasmBinary = await read(url(`${binary}.gz`), came);
    ort.env.logLevel = "error";
    models = {};
    for (const name of about.models) models[name] = await read(url(`${name}.onnx.gz`), came);
    beside = about.shared
      ? [{ path: about.shared, data: await read(url(`${about.shared}.gz`), came) }] : [];
    return { build };
  },
  // ready to answer; on a graphics processor each network has computed once
  async begin() {
    sessions = await create(models, beside, [build]);
    models = beside = null;
    if (build === "webgpu") {
      const image = new Float32Array(3 * side * side).fill(0.5);
      for (const [name, session] of Object.entries(sessions)) {
        if (name !== "decoder") await session.run({ image: square(image) });
      }
    }
    return {};
  },
  async embed({ image }) {
    embedding = (await sessions.encoder.run({ image: square(image) })).embedding;
    return {};
  },
  // points of P prompts with n points each: flat x, y in pixels of the square, and their kinds
  async decode({ points, kinds, prompts }) {
    const n = kinds.length / prompts, low = side / 4;
    const out = await sessions.decoder.run({
      embedding,
      points: new ort.Tensor("float32", Float32Array.from(points), [prompts, n, 2]),
      kinds: new ort.Tensor("int64", BigInt64Array.from(kinds, k => BigInt(k)), [prompts, n]),
      mask: new ort.Tensor("float32", new Float32Array(prompts * low * low),
        [prompts, 1, low, low]),
      has_mask: new ort.Tensor("float32", new Float32Array(prompts), [prompts]),
    });
    return { masks: out.masks.data.slice(), iou: Array.from(out.iou.data), low };
  },
  async map({ image }) {
    const { logits } = await sessions.model.run({ image: square(image) });
    return { logits: logits.data.slice() };
  },
};
const square = image => new ort.Tensor("float32", image, [1, 3, side, side]);

let last = Promise.resolve();  // one after the other
onmessage = ({ data }) => {
  last = last.then(async () => {
    const begin = performance.now();
    try {
      postMessage({ id: data.id, answer: await answers[data.kind](data),
        ms: performance.now() - begin });
    } catch (error) {
      postMessage({ id: data.id, error: String(error.message || error) });
    }
  });
};
