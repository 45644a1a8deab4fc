// What keys and buttons do; the buttons.

const makeActions = (canvas, viewer, geometry, config) => {
  const zoomBy = (factor, at = geometry.middle()) =>
    viewer.glideTo((view) => geometry.transform(view, at, at, factor, 0));
  const moveBy = (dx, dy) => viewer.glideTo((view) => { // in parts of the screen
    const [x, y] = geometry.toImage(view, dx * canvas.width, dy * canvas.height);
    view.x += x;
    view.y += y;
  });
  const turnBy = (angle) => viewer.glideTo((view) => { view.rotation += angle; });
  const moveLine = (part) => viewer.change((view) => { view.split += part; }, true);
  const toggle = (name) => viewer.change((view) => { view[name] = !view[name]; }, true);
  const toggleCompare = () => { if (config.base) toggle("compare"); };
  const toggleGradient = () => toggle("gradient");
  const reset = () => viewer.glideTo((view) => Object.assign(view, geometry.opening()), true);
  const help = () => {
    if ($("help").open || $("help-button").hidden) return;
    $("help").showModal();
    $("help").scrollTop = 0; // The button at its end has the focus.
  };

  $("zoom-in").onclick = () => zoomBy(1.5);
  $("zoom-out").onclick = () => zoomBy(1 / 1.5);
  $("compare").onclick = toggleCompare;
  $("gradient").onclick = toggleGradient;
  $("reset").onclick = reset;
  $("help-button").onclick = help;
  $("help").addEventListener("click", (event) => { // beside the dialog
    if (event.target === $("help")) $("help").close();
  });
  $("angle").addEventListener("input", () => viewer.change((view) => {
    view.rotation = Number($("angle").value) * Math.PI / 180;
  }));

  return { zoomBy, moveBy, turnBy, moveLine, toggleCompare, toggleGradient, reset, help };
};
