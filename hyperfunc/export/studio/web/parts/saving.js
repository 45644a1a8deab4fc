// Render a picture at any scale, tile by tile, into a file.

const LARGEST_BAND = 64e6; // bytes of the rows that are rendered before they are written
const LARGEST_READ = 2 ** 18; // pixels that are rendered at once: the page answers nothing meanwhile

// The size of a picture at a scale, as `hyperfunc upscale` rounds it.
const scaledSize = ({ width, height }, scale) =>
  [width, height].map((n) => Math.max(1, Math.floor(n * scale + 0.5)));

// The output pixels (first, end) whose centres lie in [low, high), step input pixels apart.
const pixelsWithin = (low, high, step) =>
  [low, high].map((edge) => Math.ceil(edge / step - 0.5 - 1e-9));

// By how much tiles have to read more where the output is reduced; see tiling.js.
const findExtra = (footprint, margin) =>
  margin ? 2 * Math.max(0, Math.ceil((Math.ceil(2 * footprint) - margin) / 2)) : 0;

// Copy RGBA pixels of w columns into the columns from `left` on of RGB rows of `width` columns.
const copyInto = (band, width, left, rgba, w) => {
  for (let from = 0, y = 0; from < rgba.length; y++)
    for (let to = 3 * (y * width + left), x = 0; x < w; x++, from += 4, to += 3)
      for (let c = 0; c < 3; c++) band[to + c] = rgba[from + c];
};

// Let the page answer its user. Unlike a timer, this is not slowed down in a hidden tab.
const answerEvents = () => new Promise((done) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { port1.close(); done(); };
  port2.postMessage(null);
});

// makeWriter(width, height): of the file, see png.js. isCancelled(): whether to stop.
// features(index, extra): resolves to those of a tile. isAtHand(index, extra): whether it has them.
// ahead(): how many tiles are encoded side by side. read(view, w, h): the RGBA bytes of a view.
// onProgress(part, seconds): the part of the pixels that is drawn, and the seconds that are left.
// Resolves to what the writer's `finish` does.
const savePicture = async (picture, scale, parts) => {
  const { tiling, margin, store, read, features, isAtHand, ahead, makeWriter } = parts;
  const [width, height] = scaledSize(picture, scale);
  const across = picture.width / width, down = picture.height / height;
  const footprint = Math.max(across, down), extra = findExtra(footprint, margin);
  const isEncoded = footprint <= LARGEST_FOOTPRINT || margin > 0;
  const requests = new Map(), estimate = makeEstimate();
  const request = (index) => {
    if (!isEncoded || index >= tiling.count || requests.has(index)) return;
    requests.set(index, features(index, extra));
    // An error is thrown where it is waited for.
    requests.get(index).then(() => rest.delete(index), () => {});
  };
  const rest = new Set(Array(isEncoded ? tiling.count : 0).keys()); // tiles that are not encoded here
  // part: of the pixels that is drawn.
  const tell = (part) => {
    // What is on the screen is encoded meanwhile, too.
    const count = [...rest].filter((index) => !isAtHand(index, extra)).length;
    parts.onProgress(part, estimate.left(part, count, ahead()));
  };

  // The RGBA bytes of w x h output pixels.
  const render = (left, top, w, h) => read({
    x: (left + w / 2) * across, y: (top + h / 2) * down, zoom: 1 / across, tall: down / across,
    rotation: 0, compare: false, gradient: false, limited: footprint <= 1,
  }, w, h);

  // Render the output rows first ... end, which lie in a row of tiles; null: it was cancelled.
  const renderBand = async (row, first, end, isLast) => {
    const band = new Uint8Array(3 * width * (end - first));
    for (let column = 0; column < tiling.columns; column++) {
      const tile = tiling.at(row * tiling.columns + column);
      for (let i = 0; i <= ahead(); i++) request(tile.index + i);
      const began = performance.now(), encoded = await requests.get(tile.index);
      estimate.add((performance.now() - began) / 1000);
      if (isLast) requests.delete(tile.index);
      if (parts.isCancelled()) return null; // The store may be another picture's.
      if (isEncoded) store.put(tile.index, encoded);
      const [left, right] = pixelsWithin(tile.left, tile.right, across);
      const [w, h] = [right - left, end - first], pieces = Math.max(1, Math.ceil(w * h / LARGEST_READ));
      for (let i = 0; i < pieces; i++) {
        const [top, bottom] = [i, i + 1].map((n) => Math.round(n / pieces * h));
        if (w > 0 && bottom > top) {
          const rgba = render(left, first + top, w, bottom - top);
          copyInto(band.subarray(3 * width * top), width, left, rgba, w);
        }
        tell((first + (column + (i + 1) / pieces) / tiling.columns * h) / height);
        await answerEvents();
        if (parts.isCancelled()) return null;
      }
    }
    return band;
  };

  const writer = await makeWriter(width, height);
  if (!writer) return null;
  try {
    for (let row = 0; row < tiling.rows; row++) {
      const tile = tiling.at(row * tiling.columns);
      const [top, bottom] = pixelsWithin(tile.top, tile.bottom, down);
      const rows = Math.max(1, Math.floor(LARGEST_BAND / (3 * width)));
      for (let first = top; first < bottom; first += rows) {
        const end = Math.min(first + rows, bottom);
        const band = await renderBand(row, first, end, end === bottom);
        if (!band) { await writer.abort(); return null; }
        await writer.write(band);
      }
    }
    return await writer.finish();
  } catch (error) { await writer.abort(); throw error; }
};
