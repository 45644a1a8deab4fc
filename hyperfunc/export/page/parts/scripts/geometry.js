// Where the image lies on the screen.
//
// A view has: x, y: the position in the middle of the screen, input pixels; zoom: screen pixels (of
// the device) per input pixel; rotation: radians, clockwise; compare: whether the base is shown
// beside the function; split: where the line between them is, 0 (left) to 1 (right); gradient:
// whether the gradient magnitude is shown; tall (1 if missing): how much farther apart rows are than
// columns, of a view without rotation; limited: whether limit.glsl bounds the values.

const MAX_ZOOM = 128;
const MIN_COMPARED_WIDTH = 64; // CSS pixels. The line would hide a narrower image.
const MARGIN = 18; // around the image, CSS pixels
const SMALLEST = 32; // CSS pixels of the longer side of the image, in however small a window
const WIDE_LEGEND = 0.6; // of the window's width: the image does not fit beside it
const TALL_LEGEND = 0.27; // of the window's height: it would hide much of the image

const makeGeometry = (canvas, toolbar, legend, config) => {
  const pixelRatio = () => canvas.width / canvas.clientWidth || 1;
  const middle = () => [canvas.width / 2, canvas.height / 2];

  // The position of a pointer, device pixels from the top left of the canvas.
  const locate = (event) => {
    const box = canvas.getBoundingClientRect(), r = pixelRatio();
    return [(event.clientX - box.left) * r, (event.clientY - box.top) * r];
  };

  // The whole image in the part of the screen that the toolbar leaves free, and the legend if it is
  // wide or tall.
  const fit = () => {
    const r = pixelRatio(), margin = MARGIN * r;
    const bottom = (toolbar.offsetHeight + 16) * r + margin;
    const below = (legend.offsetTop + legend.offsetHeight) * r + margin;
    const beside = (legend.offsetLeft + legend.offsetWidth) * r + margin;
    const isWide = legend.offsetWidth * r > WIDE_LEGEND * canvas.width;
    const isTall = legend.offsetHeight * r > TALL_LEGEND * canvas.height;
    const top = isWide && below + bottom < canvas.height / 2 ? below : margin;
    const left = isTall && beside + margin < WIDE_LEGEND * canvas.width ? beside : margin;
    const zoom = Math.max(smallest(), Math.min(
      (canvas.width - left - margin) / config.width,
      (canvas.height - bottom - top) / config.height));
    const x = (config.width + (margin - left) / zoom) / 2;
    const y = (config.height + (bottom - top) / zoom) / 2;
    return { zoom, x, y, rotation: 0 };
  };

  const smallest = () => Math.min(1, SMALLEST * pixelRatio() / Math.max(config.width, config.height));

  // The view with which the page opens: beside the base, where the image is wide enough. The line is in
  // the middle of the image.
  const opening = () => {
    const whole = fit();
    const isWide = whole.zoom * config.width >= MIN_COMPARED_WIDTH * pixelRatio();
    const split = 0.5 + (config.width / 2 - whole.x) * whole.zoom / canvas.width;
    return { ...whole, split, compare: config.base && isWide, gradient: false };
  };

  const clampZoom = (zoom) => {
    const whole = fit().zoom;
    return clamp(zoom, Math.min(whole, 1) / 2, Math.max(MAX_ZOOM, whole));
  };

  // Move a view to the nearest one that shows some of the image.
  const constrain = (view) => {
    view.zoom = clampZoom(view.zoom);
    const { x, y } = fit();
    view.x = clamp(view.x, Math.min(0, x), Math.max(config.width, x));
    view.y = clamp(view.y, Math.min(0, y), Math.max(config.height, y));
    view.rotation -= 2 * Math.PI * Math.round(view.rotation / (2 * Math.PI));
    view.split = clamp(view.split, 0, 1);
    return view;
  };

  // From a displacement on the screen (device pixels) to one in the image.
  const toImage = (view, dx, dy) => {
    const c = Math.cos(view.rotation) / view.zoom, s = Math.sin(view.rotation) / view.zoom;
    return [c * dx + s * dy, -s * dx + c * dy];
  };

  // Zoom and rotate so that the image point at (px, py) on the screen moves to (qx, qy).
  const transform = (view, [px, py], [qx, qy], factor, angle) => {
    const [cx, cy] = middle();
    const [ax, ay] = toImage(view, px - cx, py - cy);
    const [x, y] = [view.x + ax, view.y + ay];
    view.zoom = clampZoom(view.zoom * factor);
    view.rotation += angle;
    const [bx, by] = toImage(view, qx - cx, qy - cy);
    view.x = x - bx;
    view.y = y - by;
    return constrain(view);
  };

  return { pixelRatio, middle, locate, fit, opening, constrain, toImage, transform };
};
