// A picture in square tiles. A tile has cells of its own, one more around them where the picture has
// them, and its encoding reads a halo around its own.

// tile: cells on a side. halo: input pixels that the encoder reads around those of a tile.
// margin: corrected pixels around those of a tile, which the base of its own pixels reads.
const makeTiling = ({ width, height }, { tile: side, halo, margin }) => {
  const columns = Math.ceil(width / side), rows = Math.ceil(height / side);

  const at = (index) => {
    const column = index % columns, row = Math.floor(index / columns);
    const [left, top] = [column * side, row * side];
    return {
      index, column, row, left, top,
      right: Math.min(left + side, width), bottom: Math.min(top + side, height),
    };
  };

  // A rectangle with a margin, as far as the picture goes.
  const grow = ({ left, top, right, bottom }, margin) => ({
    left: Math.max(left - margin, 0), top: Math.max(top - margin, 0),
    right: Math.min(right + margin, width), bottom: Math.min(bottom + margin, height),
  });

  return {
    width, height, columns, rows, count: columns * rows, at,

    // What an encoder needs for a tile, cut out of the picture's RGBA bytes.
    // extra: input pixels by which margin and halo are wider, an even number.
    cut(rgba, index, extra = 0) {
      const tile = at(index), cells = grow(tile, 1), read = grow(tile, halo + extra);
      const corrected = grow(tile, margin + extra);
      const [w, h] = [read.right - read.left, read.bottom - read.top];
      const bytes = new Uint8Array(4 * w * h);
      for (let y = 0; y < h; y++) {
        const start = 4 * ((read.top + y) * width + read.left);
        bytes.set(rgba.subarray(start, start + 4 * w), 4 * w * y);
      }
      return {
        bytes, width: w, height: h,
        // The cells within what is read, and where they lie in a tile with one cell around it.
        skip: [cells.left - read.left, cells.top - read.top],
        cells: [cells.right - cells.left, cells.bottom - cells.top],
        offset: [cells.left - tile.left + 1, cells.top - tile.top + 1],
        corrected: {
          left: corrected.left, top: corrected.top,
          skip: [corrected.left - read.left, corrected.top - read.top],
          size: [corrected.right - corrected.left, corrected.bottom - corrected.top],
        },
      };
    },

    // The tiles that a view of w x h screen pixels shows: those near its middle first, and last those
    // on the left of the comparison line. Returns them, and the number of the others.
    visible({ x, y, zoom, rotation, compare, split }, w, h) {
      const [c, s] = [Math.abs(Math.cos(rotation)), Math.abs(Math.sin(rotation))];
      const across = (c * w + s * h) / 2 / zoom, down = (s * w + c * h) / 2 / zoom;
      const clampTo = (value, count) => Math.min(Math.max(Math.floor(value / side), 0), count - 1);
      const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)], tiles = [];
      for (let row = clampTo(y - down, rows); row <= clampTo(y + down, rows); row++)
        for (let column = clampTo(x - across, columns); column <= clampTo(x + across, columns); column++) {
          const { index, left, top, right, bottom } = at(row * columns + column);
          // The column of the screen in which the corner lies that is farthest to the right.
          const [u, v] = [cos > 0 ? right : left, sin > 0 ? top : bottom];
          const end = w / 2 + zoom * (cos * (u - x) - sin * (v - y));
          const distance = Math.hypot((left + right) / 2 - x, (top + bottom) / 2 - y);
          tiles.push({ index, distance, isCovered: compare && end <= split * w });
        }
      tiles.sort((a, b) => a.isCovered - b.isCovered || a.distance - b.distance);
      const shown = tiles.filter(({ isCovered }) => !isCovered).length;
      return { tiles: tiles.map(({ index }) => index), shown };
    },
  };
};
