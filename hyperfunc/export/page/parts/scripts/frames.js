// When to draw: after a change a preview, as fine as 60 frames a second allow, and once the view
// has been at rest for a moment the full resolution, band by band.

const FRAME_BUDGET = 20; // ms of drawing per frame
const MAX_RATIO = 8; // screen pixels for each pixel of a preview, on each axis
const REST_DELAY = 110; // ms without a change before the full resolution is drawn

const makeFrames = (canvas, viewer, labels) => {
  let gl = null, renderer = null;
  let request = 0; // of requestAnimationFrame
  let stage = "done"; // "preview", "rest" (the full resolution) or "done"
  let row = 0; // the first one that is not yet drawn at full resolution
  let restAt = 0; // when the full resolution may start
  let waiters = []; // called when all is drawn
  // To measure speed: a fence after what was drawn last, when that was issued, and its pixels.
  let fence = null, issued = 0, drawn = 0;
  let cost = 1e-4; // ms per pixel, estimated

  const schedule = () => { request ||= requestAnimationFrame(tick); };

  const startTimer = (pixels) => {
    drawn = pixels;
    issued = performance.now();
    fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  };

  // Update the cost if the graphics card is ready; returns whether it is.
  const stopTimer = () => {
    if (gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED) return false;
    gl.deleteSync(fence);
    fence = null;
    const elapsed = performance.now() - issued;
    // An answer within one frame says only that drawing was fast enough.
    cost = elapsed < 19 ? 0.8 * Math.min(cost, FRAME_BUDGET / drawn)
      : 0.5 * cost + 0.5 * elapsed / drawn;
    return true;
  };

  const drawPreview = (time) => {
    const { width: w, height: h } = canvas;
    if (viewer.isGliding) viewer.step(time);
    const coarsest = Math.min(MAX_RATIO, renderer.coarsest(viewer.view));
    const ratio = clamp(Math.sqrt(w * h * cost / FRAME_BUDGET), 1, coarsest);
    const isFull = ratio < 1.15;
    renderer.preview(viewer.view, w, h, isFull ? 1 : ratio);
    startTimer(w * h / ratio ** 2);
    labels.placeLine(viewer.view);
    row = 0;
    if (viewer.isGliding) restAt = performance.now() + REST_DELAY;
    else stage = isFull ? "done" : "rest";
  };

  const drawBand = () => {
    const { width: w, height: h } = canvas;
    const wanted = Math.max(Math.floor(2 * FRAME_BUDGET / cost / w), Math.ceil(h / 24));
    const count = Math.min(wanted, h - row);
    renderer.rows(viewer.view, w, h, row, count);
    startTimer(count * w);
    row += count;
    if (row >= h) stage = "done";
  };

  const tick = (time) => {
    request = 0;
    if (!renderer || gl.isContextLost()) return;
    if (fence && !stopTimer()) return schedule();
    if (stage === "preview") drawPreview(time);
    else if (stage === "rest" && performance.now() >= restAt) drawBand();
    if (stage !== "done" || fence) return schedule();
    for (const done of waiters) done();
    waiters = [];
  };

  return {
    // Draw with this renderer from now on; with null, draw nothing.
    use(newGl, newRenderer) {
      [gl, renderer, fence] = [newGl, newRenderer, null];
    },
    // Draw the view anew.
    invalidate() {
      stage = "preview";
      restAt = performance.now() + REST_DELAY;
      labels.describe(viewer.goal);
      schedule();
    },
    // Resolves when the view is drawn at full resolution.
    settled: () => new Promise((done) => { waiters.push(done); schedule(); }),
  };
};
