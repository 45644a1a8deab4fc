import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./parts.js";

const { makeTiling, pixelsWithin, savePicture, scaledSize } = load(
  ["tiling.js", "sharpener.js", "png.js", "saving.js"],
  "makeTiling", "pixelsWithin", "savePicture", "scaledSize");

for (const scale of [0.3, 1, 1.37, 2, 2.5, 3, 7.9])
  test(`tiles share the output pixels among them at scale ${scale}`, () => {
    const n = 133, side = 16, [count] = scaledSize({ width: n, height: 1 }, scale), step = n / count;
    let next = 0;
    for (let low = 0; low < n; low += side) {
      const [first, end] = pixelsWithin(low, Math.min(low + side, n), step);
      assert.ok(first === next);
      for (let k = first; k < end; k++)
        assert.ok((k + 0.5) * step > low - 1e-6 && (k + 0.5) * step < low + side + 1e-6);
      next = end;
    }
    assert.equal(next, count);
  });

test("every tile is asked for once, in order, and put before it is drawn", async () => {
  const picture = { width: 40, height: 20 }, tiling = makeTiling(picture, 16, 2);
  const asked = [], put = [];
  const file = await savePicture(picture, 2, {
    tiling, ahead: 2, onProgress: () => {}, isCancelled: () => false,
    features: async (index) => asked.push(index) && index,
    store: { put: (index, loaded) => { assert.equal(loaded, index); put.push(index); } },
    renderer: () => ({ read: (_, w, h) => new Uint8Array(4 * w * h) }),
  });
  assert.deepEqual(asked, [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(put, asked);
  assert.ok(file.size > 50);
});

test("a cancelled picture is no file", async () => {
  const picture = { width: 40, height: 20 };
  const file = await savePicture(picture, 0.5, { // Reductions need no functions.
    tiling: makeTiling(picture, 16, 2), ahead: 1, onProgress: () => {}, isCancelled: () => true,
    features: () => assert.fail(), store: { put: () => assert.fail() }, renderer: () => null,
  });
  assert.equal(file, null);
});
