// Encodes tiles with ONNX Runtime: RGBA bytes become the features of cells, and corrected pixels
// where the model corrects them. Its name says whether WebGPU is allowed, and which model to use.

import { crop, cropColours, toTensor } from "./arrays.js";

const [allowed, name] = self.name.split("/");

const RUNTIMES = { WebGPU: "ort.jspi.min.mjs", WebAssembly: "ort.wasm.min.mjs" };

const open = async (backend) => {
  const ort = await import(`./runtime/${RUNTIMES[backend]}`);
  ort.env.wasm.numThreads = 1; // More would need headers of the server.
  ort.env.wasm.wasmPaths = new URL("runtime/", import.meta.url).href;
  ort.env.logLevel = "error";
  const provider = backend === "WebGPU" ? "webgpu" : "wasm";
  const model = new URL(`model/${encodeURIComponent(name)}/encoder.onnx`, import.meta.url).href;
  const session = await ort.InferenceSession.create(model, { executionProviders: [provider] });
  const encode = async ({ bytes, width, height, skip, cells, corrected }) => {
    const image = new ort.Tensor("float32", toTensor(bytes), [1, height, width, 3]);
    const { features, base } = await session.run({ image });
    const data = crop(await features.getData(), features.dims, skip, cells);
    const colours = base && cropColours(
      await base.getData(), base.dims, corrected.skip, corrected.size);
    features.dispose();
    base?.dispose();
    return { data, colours };
  };
  const whole = { skip: [0, 0], cells: [8, 8], corrected: { skip: [0, 0], size: [8, 8] } };
  const { data } = await encode({ bytes: new Uint8Array(4 * 64), width: 8, height: 8, ...whole });
  if (!data.every(Number.isFinite)) throw new Error("it computes wrong values");
  return encode;
};

// Whether there is a graphics card, not an imitation, and what the runtime for it needs.
const hasWebGPU = async () => {
  if (!navigator.gpu || !("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu.requestAdapter();
  return adapter !== null && !adapter.info?.isFallbackAdapter;
};

const choose = async () => {
  if (allowed === "any" && await hasWebGPU())
    try { return ["WebGPU", await open("WebGPU")]; }
    catch { /* Its drivers may fail: the processor works. */ }
  return ["WebAssembly", await open("WebAssembly")];
};

const ready = choose();
ready.then(
  ([backend]) => postMessage({ backend }),
  (error) => postMessage({ error: error.message }));

onmessage = async ({ data: { number, ...cut } }) => {
  try {
    const [, encode] = await ready;
    const { data, colours } = await encode(cut);
    const { cells, offset, corrected } = cut;
    const buffers = [data, colours].filter(Boolean).map((array) => array.buffer);
    postMessage({ number, data, cells, offset, colours, corrected }, buffers);
  } catch (error) { postMessage({ error: error.message }); }
};
