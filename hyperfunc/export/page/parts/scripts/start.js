// Put the parts together, and open the page.

const config = JSON.parse($("config").textContent);
const canvas = $("canvas");
const geometry = makeGeometry(canvas, $("tools"), config);
const viewer = makeViewer(geometry, config, () => frames.invalidate());
const labels = makeLabels(config);
const frames = makeFrames(canvas, viewer, labels);
const actions = makeActions(canvas, viewer, geometry, config);
listenToKeys(actions);
listenToPointers(canvas, $("split"), viewer, geometry, actions);
let renderer = null;

const start = async () => {
  const gl = openWebGL(canvas);
  if (typeof DecompressionStream === "undefined")
    throw new Error(
      "This browser is too old to open this page: it lacks DecompressionStream. Use a browser " +
      "from 2023 or later.");
  const deflated = decodeBase64($("data").textContent);
  $("data").remove();
  const makeAgain = async () => {
    uploadCoefficients(gl, config, await inflate(deflated));
    renderer = makeRenderer(gl, config);
    frames.use(gl, renderer);
  };
  await makeAgain();
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    renderer = null;
    frames.use(gl, null);
    labels.say("The browser has lost the graphics card. Waiting until it is available again …", true);
  });
  canvas.addEventListener("webglcontextrestored", async () => {
    try { await makeAgain(); labels.say(""); frames.invalidate(); }
    catch (error) { labels.say(error.message); }
  });
  watchSize(canvas, viewer);
  viewer.open();
  labels.say("");
};

const ready = start().catch((error) => { labels.say(error.message); throw error; });
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
