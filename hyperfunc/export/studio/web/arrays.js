// From bytes to the encoder's input, and from its outputs to the textures of a tile.

// RGBA bytes as RGB floats in [0, 1].
export const toTensor = (bytes) => {
  const values = new Float32Array(bytes.length / 4 * 3);
  for (let i = 0, k = 0; i < bytes.length; i += 4)
    for (let c = 0; c < 3; c++) values[k++] = bytes[i + c] / 255;
  return values;
};

// The cells of features [1, count, height, width] as [count / 4, rows, columns, 4], zeros at the end.
export const crop = (features, [, count, height, width], [left, top], [columns, rows]) => {
  const cells = new Float32Array(4 * Math.ceil(count / 4) * rows * columns);
  for (let i = 0; i < count; i++)
    for (let y = 0; y < rows; y++) {
      const from = (i * height + top + y) * width + left;
      const to = ((i >> 2) * rows + y) * columns;
      for (let x = 0; x < columns; x++) cells[4 * (to + x) + (i & 3)] = features[from + x];
    }
  return cells;
};

// A part of colours [1, height, width, 3] as RGBA [rows, columns, 4], opaque.
export const cropColours = (colours, [, , width], [left, top], [columns, rows]) => {
  const part = new Float32Array(4 * rows * columns).fill(1);
  for (let y = 0, k = 0; y < rows; y++)
    for (let x = 0; x < columns; x++, k += 4) {
      const from = 3 * ((top + y) * width + left + x);
      for (let c = 0; c < 3; c++) part[k + c] = colours[from + c];
    }
  return part;
};
