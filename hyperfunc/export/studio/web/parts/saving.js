// Render a picture at any scale, tile by tile, into a PNG.

const MAX_SAVED_PIXELS = 400e6;

// The size of a picture at a scale, as `hyperfunc upscale` rounds it.
const scaledSize = ({ width, height }, scale) =>
  [width, height].map((n) => Math.max(1, Math.floor(n * scale + 0.5)));

// The output pixels (first, end) whose centres lie in [low, high), step input pixels apart.
const pixelsWithin = (low, high, step) =>
  [low, high].map((edge) => Math.ceil(edge / step - 0.5 - 1e-9));

// features(index): resolves to those of a tile. isCancelled(): whether to stop.
const savePicture = async (picture, scale, parts) => {
  const { tiling, store, renderer, features, ahead, onProgress, isCancelled } = parts;
  const [width, height] = scaledSize(picture, scale);
  const across = picture.width / width, down = picture.height / height;
  const isSharp = Math.max(across, down) <= LARGEST_FOOTPRINT;
  const png = makePng(width, height), requests = new Map();
  const request = (index) => {
    if (isSharp && index < tiling.count && !requests.has(index)) requests.set(index, features(index));
  };

  for (let row = 0; row < tiling.rows; row++) {
    const first = tiling.at(row * tiling.columns);
    const [top, bottom] = pixelsWithin(first.top, first.bottom, down);
    const band = new Uint8Array(3 * width * (bottom - top));
    for (let column = 0; column < tiling.columns; column++) {
      const tile = tiling.at(row * tiling.columns + column);
      for (let i = 0; i <= ahead; i++) request(tile.index + i);
      if (isSharp) {
        const loaded = await requests.get(tile.index);
        requests.delete(tile.index);
        store.put(tile.index, loaded);
      }
      if (isCancelled()) return null;
      const [left, right] = pixelsWithin(tile.left, tile.right, across);
      const [w, h] = [right - left, bottom - top];
      if (w > 0 && h > 0) {
        const view = {
          x: (left + w / 2) * across, y: (top + h / 2) * down, zoom: 1 / across, tall: down / across,
          rotation: 0, compare: false, gradient: false,
        };
        const rgba = renderer().read(view, w, h);
        for (let y = 0; y < h; y++)
          for (let x = 0; x < w; x++)
            for (let c = 0; c < 3; c++)
              band[3 * (y * width + left + x) + c] = rgba[4 * (y * w + x) + c];
      }
      onProgress((tile.index + 1) / tiling.count);
    }
    await png.write(band);
  }
  return png.finish();
};
