// The canvas has as many pixels as the screen shows of it.

const watchSize = (canvas, viewer) => {
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

  const observer = new ResizeObserver(resize);
  try { observer.observe(canvas, { box: "device-pixel-content-box" }); }
  catch { observer.observe(canvas); }
  resize();
};
