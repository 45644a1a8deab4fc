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

const openWebGL = () => {
  const gl = canvas.getContext("webgl2", {
    alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true,
    powerPreference: "high-performance",
  });
  if (!gl)
    throw new Error(
      "This page draws the image on the graphics card and needs WebGL 2, which this browser does " +
      "not offer. Enable hardware acceleration, or open the page in a current Chrome, Edge, " +
      "Firefox or Safari.");
  if (typeof DecompressionStream === "undefined")
    throw new Error(
      "This browser is too old to open this page: it lacks DecompressionStream. Use a browser " +
      "from 2023 or later.");
  return gl;
};

const resize = (entries) => {
  const box = entries?.[0]?.devicePixelContentBoxSize?.[0];
  const r = devicePixelRatio;
  // The exact size where it is known; browsers that emulate another screen report it unscaled.
  const pick = (exact, css) =>
    Math.max(1, exact && Math.abs(exact - css * r) < 2 ? exact : Math.round(css * r));
  const w = pick(box?.inlineSize, canvas.clientWidth);
  const h = pick(box?.blockSize, canvas.clientHeight);
  if (canvas.width === w && canvas.height === h && !viewer.isFitted) return;
  canvas.width = w;
  canvas.height = h;
  viewer.refit();
};

const start = async () => {
  const gl = openWebGL();
  const deflated = decodeBase64($("data").textContent);
  $("data").remove();
  const makeAgain = async () => {
    renderer = makeRenderer(gl, config, await inflate(deflated));
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
  const observer = new ResizeObserver(resize);
  try { observer.observe(canvas, { box: "device-pixel-content-box" }); }
  catch { observer.observe(canvas); }
  resize();
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
