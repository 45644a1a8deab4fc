// The keys of the page, and those of the comparison line.

const LINE_STEPS = {
  ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02,
  PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1,
};

const listenToKeys = (actions) => {
  const { zoomBy, moveBy, turnBy, moveLine, toggleCompare, toggleGradient, reset, help } = actions;
  const keys = {
    "+": () => zoomBy(1.25), "=": () => zoomBy(1.25),
    "-": () => zoomBy(0.8), _: () => zoomBy(0.8),
    ArrowLeft: () => moveBy(-0.1, 0), ArrowRight: () => moveBy(0.1, 0),
    ArrowUp: () => moveBy(0, -0.1), ArrowDown: () => moveBy(0, 0.1),
    "[": () => turnBy(-Math.PI / 36), "]": () => turnBy(Math.PI / 36),
    c: toggleCompare, g: toggleGradient, 0: reset, "?": help,
  };
  addEventListener("keydown", (event) => {
    // Some keyboards type brackets with AltGr (which is Ctrl + Alt) or Option.
    const isComposed = "[]".includes(event.key) && event.altKey;
    const isShortcut = (event.ctrlKey || event.altKey) && !isComposed;
    if (isShortcut || event.metaKey || $("help").open) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // The slider and the line have arrow keys of their own.
    const hasOwnArrows = ["angle", "split"].includes(document.activeElement?.id);
    if (hasOwnArrows && key.startsWith("Arrow")) return;
    if (Object.hasOwn(keys, key)) { keys[key](); event.preventDefault(); }
  });

  $("split").addEventListener("keydown", (event) => {
    if (!Object.hasOwn(LINE_STEPS, event.key)) return;
    event.preventDefault();
    moveLine(LINE_STEPS[event.key]);
  });
};
