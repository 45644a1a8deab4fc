import assert from "node:assert/strict";
import { test } from "node:test";
import { crop, cropColours, toTensor } from "../arrays.js";

test("bytes become colours without their alpha", () => {
  const values = toTensor(new Uint8Array([255, 0, 51, 9, 102, 1, 2, 3]));
  assert.deepEqual([...values], [1, 0, 51 / 255, 102 / 255, 1 / 255, 2 / 255].map(Math.fround));
});

test("features become texels of four", () => {
  const [count, height, width] = [6, 4, 5], size = count * height * width;
  const features = Float32Array.from({ length: size }, (_, i) => i);
  const cells = crop(features, [1, count, height, width], [1, 2], [3, 2]);
  assert.equal(cells.length, 2 * 2 * 3 * 4);
  for (let i = 0; i < 8; i++)
    for (let y = 0; y < 2; y++)
      for (let x = 0; x < 3; x++) {
        const expected = i < count ? (i * height + y + 2) * width + x + 1 : 0;
        assert.equal(cells[((Math.floor(i / 4) * 2 + y) * 3 + x) * 4 + i % 4], expected);
      }
});

test("colours become opaque texels", () => {
  const colours = Float32Array.from({ length: 3 * 4 * 5 }, (_, i) => i);
  const part = cropColours(colours, [1, 4, 5, 3], [2, 1], [2, 3]);
  assert.equal(part.length, 4 * 2 * 3);
  const first = 3 * (1 * 5 + 2), last = 3 * (3 * 5 + 3);
  assert.deepEqual([...part.subarray(0, 4)], [first, first + 1, first + 2, 1]);
  assert.deepEqual([...part.subarray(-4)], [last, last + 1, last + 2, 1]);
});
