// Put the parts together, and open the page.

const config = JSON.parse($("config").textContent);
const canvas = $("canvas");
const geometry = makeGeometry(canvas, $("tools"), $("legend"), config);
const viewer = makeViewer(geometry, config, () => frames.invalidate());
const labels = makeLabels(config);
const frames = makeFrames(canvas, viewer, labels);
const actions = makeActions(canvas, viewer, geometry, config);
listenToKeys(actions);
listenToPointers(canvas, $("split"), viewer, geometry, actions);
let renderer = null;

// The base is the last of the arrays. Without one there is nothing to show but the message.
const showBase = (payload, message) => {
  frames.use(null, null);
  if (!config.base) { labels.say(message); return; }
  const { width, height } = config, plain = Object.assign($("plain"), { width, height });
  const rgb = new Uint8Array(payload).subarray(-3 * width * height);
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++)
    image.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
  plain.getContext("2d").putImageData(image, 0, 0);
  labels.sayBesidePicture(message);
};

const start = async () => {
  if (typeof DecompressionStream === "undefined")
    throw new Error(
      "This browser is too old to open this page: it lacks DecompressionStream. Use a browser " +
      "from 2023 or later.");
  const deflated = decodeBase64($("data").textContent);
  $("data").remove();
  let losses = 0;
  const make = async (gl) => {
    const payload = await inflate(deflated);
    try {
      gl ??= openWebGL(canvas);
      uploadCoefficients(gl, config, payload);
      renderer = makeRenderer(gl, config);
      frames.use(gl, renderer);
      return gl;
    } catch (error) {
      renderer = null;
      showBase(payload, error.message);
      throw error;
    }
  };
  const gl = await make(null);
  canvas.addEventListener("webglcontextlost", async (event) => {
    event.preventDefault();
    renderer = null;
    frames.use(gl, null);
    losses++;
    if (losses > 1) showBase(
      await inflate(deflated), "The browser has lost the graphics card twice: this is the picture " +
      "itself. Reload the page to try again.");
    else labels.say(
      "The browser has lost the graphics card. Waiting until it is available again …", true);
  });
  canvas.addEventListener("webglcontextrestored", async () => {
    if (losses > 1) return;
    try { await make(gl); labels.say(""); frames.invalidate(); }
    catch { /* It is shown. */ }
  });
  watchSize(canvas, viewer);
  viewer.open();
  labels.say("");
};

const ready = start().catch((error) => {
  if ($("plain").hidden) labels.say(error.message);
  throw error;
});
ready.catch(() => {}); // It is shown; the console stays empty.

// For tests, and for use in the browser's console.
window.hyperfunc = {
  ready,
  get view() { return { ...viewer.view, width: canvas.width, height: canvas.height }; },
  set(changes) { viewer.change((view) => Object.assign(view, changes)); },
  // Resolves when the view is drawn at full resolution.
  settled: () => ready.then(frames.settled),
  // Resolves to the RGBA bytes of any view, the top row first.
  async renderView({ width, height, ...changes }) {
    await ready;
    const view = { ...viewer.view, compare: false, gradient: false, ...changes };
    return renderer.read(view, width, height);
  },
};
