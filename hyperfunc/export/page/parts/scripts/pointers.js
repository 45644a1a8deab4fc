// Mouse, pen and touch: drag, pinch, twist, wheel and double click on the image, and the line.

const MIN_SPREAD = 8; // device pixels between two fingers before they zoom or rotate
const MIN_TWIST = 0.1; // radians that two fingers turn before the image does

const listenToPointers = (canvas, line, viewer, geometry, actions) => {
  const pointers = new Map(); // on the image: id and position
  let dragged = null; // the last event of the pointer that drags the line
  let twist = 0; // of two fingers, radians; infinite once the image turns with them

  const capture = (event) => {
    pointers.set(event.pointerId, geometry.locate(event));
    canvas.setPointerCapture(event.pointerId);
  };
  const hold = (event) => {
    if (dragged) { // A second finger takes the first one from the line: they pinch.
      capture(dragged);
      dragged = null;
    }
    if (pointers.size >= 2) return;
    capture(event);
    canvas.focus({ preventScroll: true });
    canvas.classList.add("held");
    twist = 0;
  };

  // The centre of the pointers, their distance, and the direction from one to the other.
  const measure = () => {
    const [a, b = a] = [...pointers.values()];
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    return {
      centre: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2],
      spread: Math.hypot(dx, dy), angle: Math.atan2(dy, dx),
    };
  };

  // Rotate the image by the angle that the pointer moved around the middle of the screen.
  const swing = (before, after) => {
    const [cx, cy] = geometry.middle();
    const angle = ([x, y]) => Math.atan2(y - cy, x - cx);
    viewer.change((view) => { view.rotation += angle(after.centre) - angle(before.centre); });
  };

  // Move the image with one pointer; with two, zoom and rotate it as well.
  const drag = (before, after) => {
    const isPair = before.spread > MIN_SPREAD;
    const factor = isPair && after.spread > MIN_SPREAD ? after.spread / before.spread : 1;
    let turn = isPair ? after.angle - before.angle : 0;
    turn -= 2 * Math.PI * Math.round(turn / (2 * Math.PI));
    twist += turn;
    if (Math.abs(twist) < MIN_TWIST) turn = 0;
    else twist = Infinity;
    viewer.change((view) => geometry.transform(view, before.centre, after.centre, factor, turn));
  };

  canvas.addEventListener("pointerdown", hold);
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = measure();
    pointers.set(event.pointerId, geometry.locate(event));
    const isSwing = pointers.size === 1 && (event.shiftKey || event.buttons === 2);
    (isSwing ? swing : drag)(before, measure());
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      if (!pointers.size) canvas.classList.remove("held");
    });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  line.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    if (dragged || pointers.size) return hold(event);
    dragged = event;
    line.setPointerCapture(event.pointerId);
    line.focus({ preventScroll: true });
  });
  line.addEventListener("pointermove", (event) => {
    if (event.pointerId !== dragged?.pointerId) return;
    dragged = event;
    viewer.change((view) => { view.split = geometry.locate(event)[0] / canvas.width; }, true);
  });
  for (const name of ["pointerup", "pointercancel"])
    line.addEventListener(name, (event) => {
      if (event.pointerId === dragged?.pointerId) dragged = null;
    });

  // On the parent of both, so that these work on the line, too.
  const stage = canvas.parentElement;
  stage.addEventListener("dblclick", (event) =>
    actions.zoomBy(event.shiftKey ? 0.5 : 2, geometry.locate(event)));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = [1, 24, 400][event.deltaMode] * (event.ctrlKey ? 6 : 1);
    const factor = Math.exp(-clamp(event.deltaY * unit, -300, 300) * 0.0016);
    const at = geometry.locate(event);
    viewer.change((view) => geometry.transform(view, at, at, factor, 0));
  }, { passive: false });
};
