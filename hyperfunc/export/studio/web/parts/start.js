// Put the parts together.

const { models, ...shared } = JSON.parse($("config").textContent);
const config = { ...shared, ...models[0], width: 1, height: 1 }; // of the picture and the model
const canvas = $("canvas"), isLight = matchMedia("(prefers-color-scheme: light)");
const geometry = makeGeometry(canvas, $("tools"), $("legend"), config);
const viewer = makeViewer(geometry, config, () => { frames.invalidate(); sharpener?.update(); });
const labels = makeLabels(config);
const frames = makeFrames(canvas, viewer, labels);
const actions = makeActions(canvas, viewer, geometry, config);
let gl = null, kernel = null, store = null, renderer = null, pool = null;
let picture = null, tiling = null, sharpener = null;
const LOST_TWICE = "The browser has lost the graphics card twice: this is the picture itself. " +
  "Reload the page to try again.";
const LOST = "The browser has lost the graphics card: save again when the picture is back.";
const DEVICES = { WebGPU: "graphics card", WebAssembly: "processor" };
const waiting = []; // for all to be sharp
let backend = "", losses = 0;

// What has gone wrong, for the eyes and for a screen reader; "" when it is over.
labels.warn = (text) => {
  $("warning").textContent = text;
  if (text) $("status").textContent = text;
};
const spoken = canvas.getAttribute("aria-label").slice(document.title.length); // after the name
let wasSharp = false; // all that is on the screen
const refresh = makeRefresher(() => { frames.invalidate(); return frames.settled(); });

const describe = (progress) => {
  const { done, wanted, isChanged } = progress, { width, height, notes } = picture;
  const parts = [`from ${width} × ${height}`, ...notes];
  parts.push(tellProgress(progress, config.margin > 0, backend !== ""));
  if (done === wanted) for (const resolve of waiting.splice(0)) resolve();
  const isSharp = wanted > 0 && done === wanted;
  if (isSharp && !wasSharp) $("status").textContent = parts.at(-1);
  wasSharp = isSharp;
  if (backend) parts.push(`on the ${DEVICES[backend]}`);
  $("cells").textContent = parts.join("\u00a0· "); // A line ends with the dot.
  if (isChanged && done === wanted) frames.invalidate();
  else if (isChanged) refresh();
};

const makePictureRenderer = () => {
  const ground = getComputedStyle(document.documentElement).getPropertyValue("--ground");
  config.ground = ground.match(/\w\w/g).map((pair) => parseInt(pair, 16) / 255);
  renderer = makeRenderer(gl, config);
  frames.use(gl, renderer);
};

// Make everything on the graphics card that belongs to the picture.
const showPicture = () => {
  tiling = makeTiling(picture, config);
  makeTexture(gl, BASE_UNIT, gl.TEXTURE_2D);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  gl.texImage2D(
    gl.TEXTURE_2D, 0, gl.RGBA8, picture.width, picture.height, 0, gl.RGBA, gl.UNSIGNED_BYTE,
    picture.rgba);
  store.reset(tiling);
  sharpener?.close();
  const encode = (index, extra) => pool.encode(tiling.cut(picture.rgba, index, extra));
  const getView = () => ({ view: viewer.goal, width: canvas.width, height: canvas.height });
  const parts = { tiling, store, pool, encode, getView, corrects: config.margin > 0 };
  sharpener = makeSharpener(parts, describe, (error) => labels.warn(error.message));
  makePictureRenderer();
  if (gl.getError() === gl.OUT_OF_MEMORY)
    throw new Error("This device has too little graphics memory for this picture.");
};

// Show the picture without functions, and say why.
const showPlain = (error) => {
  frames.use(gl, null);
  labels.sayBesidePicture(error.message);
};

let opened = 0; // pictures
// files: how many there were to choose from.
const open = async (blob, name, files = 1) => {
  if ($("save-dialog").open) { // What is being saved needs the graphics card.
    $("result-size").textContent = "Save this picture, or cancel, before you open another one.";
    return;
  }
  const number = ++opened;
  try {
    const read = await readPicture(blob, gl?.getParameter(gl.MAX_TEXTURE_SIZE) ?? 4096);
    if (number !== opened) return; // Another one was opened later.
    if (files > 1) read.notes.push(`one of ${files} files`);
    picture = { ...read, name };
  } catch (error) {
    if (number !== opened) return;
    $("problem").textContent = error.message;
    if ($("welcome").hidden) labels.warn(error.message);
    return;
  }
  $("welcome").hidden = true;
  document.title = `${name} · hyperfunc`;
  labels.entitle(name);
  canvas.setAttribute("aria-label", name + spoken);
  URL.revokeObjectURL($("plain").src);
  Object.assign($("plain"), { src: URL.createObjectURL(blob), alt: name });
  const { width, height, isGrey } = picture;
  Object.assign(config, { width, height, isGrey });
  try {
    await Promise.all([ready, switched]);
    if (losses > 1) throw new Error(LOST_TWICE);
    showPicture();
    $("plain").hidden = true;
    labels.say("");
    labels.warn("");
    $("stage").hidden = $("tools").hidden = $("legend").hidden = $("help-button").hidden = false;
    watchOnce();
    viewer.open();
    const { activeElement } = document; // A button that opened the picture is gone.
    if (activeElement === document.body || $("welcome").contains(activeElement))
      canvas.focus({ preventScroll: true });
  } catch (error) { showPlain(error); }
};
let isWatched = false;
const watchOnce = () => {
  if (!isWatched) watchSize(canvas, viewer);
  isWatched = true;
};

const save = async (scale, makeWriter, onProgress, isCancelled) => {
  labels.warn("");
  await switched;
  if (isCancelled()) return null;
  const own = store;
  const read = (view, w, h) => {
    const rgba = renderer?.read(view, w, h);
    if (!rgba || store !== own || gl.isContextLost()) throw new Error(LOST);
    return rgba;
  };
  const { features, isAtHand } = sharpener, ahead = () => pool.size;
  return savePicture(picture, scale, {
    tiling, margin: config.margin, store, read, features, isAtHand, ahead, makeWriter, onProgress,
    isCancelled,
  });
};

// Load a model, and use it for the picture from then on.
const useModel = async (model) => {
  const response = await fetch(`model/${encodeURIComponent(model.name)}/kernel.bin`).catch(() => null);
  if (!response?.ok) {
    const status = response ? ` (${response.status})` : "";
    throw new Error(`The model ${model.name} cannot be loaded${status}: check the network and try again.`);
  }
  const loaded = new Float32Array(await response.arrayBuffer());
  sharpener?.close();
  store?.close();
  pool?.close();
  kernel = loaded;
  backend = "";
  Object.assign(config, model);
  labels.nameSides(...(config.margin ? ["the original", "restored"] : ["bicubic", "the function"]));
  store = makeStore(gl, config, kernel);
  const own = pool = makePool(model.name, (name) => {
    if (pool === own) { backend = name; sharpener?.update(); }
  });
  if (picture) { showPicture(); frames.invalidate(); sharpener.update(); }
};
let switched = Promise.resolve(); // when the model that was chosen last is in use
const chooseModel = () => {
  const model = models[$("model").selectedIndex];
  labels.warn("");
  switched = Promise.all([ready, switched]).then(() => useModel(model)).catch((error) => {
    $("model").selectedIndex = models.findIndex(({ name }) => name === config.name);
    labels.warn(error.message);
  });
};

const start = async () => {
  if (location.protocol === "file:")
    throw new Error(
      "A browser runs the models only on a page from a server. In this folder, run " +
      "“python -m http.server”, and open http://localhost:8000.");
  gl = openWebGL(canvas);
  await useModel(models[0]);
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    renderer = null;
    frames.use(gl, null);
    losses++;
    if (losses > 1) showPlain(new Error(LOST_TWICE));
    else labels.say("The browser has lost the graphics card. Waiting until it is available again …", true);
  });
  canvas.addEventListener("webglcontextrestored", () => {
    if (losses > 1) return;
    try {
      store = makeStore(gl, config, kernel);
      if (picture) showPicture();
      labels.say("");
      frames.invalidate();
      sharpener?.update();
    } catch (error) { showPlain(error); }
  });
};

$("model").addEventListener("change", chooseModel);
$("model").addEventListener("keydown", (event) => event.stopPropagation()); // It has keys of its own.
$("stage").hidden = $("tools").hidden = $("legend").hidden = $("help-button").hidden = true;
labels.say("");
isLight.addEventListener("change", () => { if (renderer) { makePictureRenderer(); frames.invalidate(); } });
listenToKeys(actions);
listenToPointers(canvas, $("split"), viewer, geometry, actions);
const openSave = makeSaveDialog(() => picture, save, labels);
listenToInputs(open, () => { if (renderer) openSave(); });
const ready = start();
ready.catch((error) => { $("problem").textContent = error.message; }); // It is shown.
if (navigator.serviceWorker && isSecureContext) navigator.serviceWorker.register("sw.js");

// For tests, and for use in the browser's console.
window.hyperfunc = {
  ready, open, save,
  get view() { return { ...viewer.view, width: canvas.width, height: canvas.height }; },
  get backend() { return backend; },
  set(changes) { viewer.change((view) => Object.assign(view, changes)); },
  settled: () => frames.settled(),
  // Resolves when all that is on the screen is sharp.
  sharp: () => new Promise((resolve) => { waiting.push(resolve); sharpener.update(); }),
};
