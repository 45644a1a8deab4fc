import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./parts.js";

const { findExtra, makeTiling, pixelsWithin, savePicture, scaledSize } = load(
  ["tiling.js", "sharpener.js", "estimate.js", "saving.js"],
  "findExtra", "makeTiling", "pixelsWithin", "savePicture", "scaledSize");
const CONFIG = { tile: 16, halo: 4, margin: 0 };

// Keeps rows in an array, and counts what it is told.
const makeRows = () => {
  const rows = { bytes: [], bands: 0, isAborted: false };
  const writer = {
    async write(rgb) { rows.bands++; for (const byte of rgb) rows.bytes.push(byte); },
    finish: async () => rows,
    async abort() { rows.isAborted = true; },
  };
  return { rows, makeWriter: async () => writer };
};

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
  const picture = { width: 40, height: 20 }, tiling = makeTiling(picture, CONFIG);
  const asked = [], put = [], views = [], { makeWriter } = makeRows();
  const file = await savePicture(picture, 2, {
    tiling, margin: 0, ahead: () => 2, makeWriter, onProgress: () => {}, isCancelled: () => false,
    features: async (index) => asked.push(index) && index, isAtHand: () => false,
    store: { put: (index, loaded) => { assert.equal(loaded, index); put.push(index); } },
    read: (view, w, h) => { views.push(view); return new Uint8Array(4 * w * h); },
  });
  assert.ok(views.every(({ limited, compare }) => limited && !compare));
  assert.deepEqual(asked, [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(put, asked);
  assert.equal(file.bytes.length, 3 * 80 * 40);
});

test("the estimate counts what the screen encodes meanwhile", async (t) => {
  const picture = { width: 64, height: 64 }, atHand = new Set(), told = [], { makeWriter } = makeRows();
  let time = 0, last = 16;
  t.mock.method(performance, "now", () => 1000 * time);
  await savePicture(picture, 2, {
    tiling: makeTiling(picture, CONFIG), margin: 0, ahead: () => 0, makeWriter, isCancelled: () => false,
    isAtHand: (index) => atHand.has(index), store: { put: () => {} },
    features: async (index) => {
      await null; // It is encoded elsewhere.
      if (atHand.has(index)) return index;
      time += 20; // of which the worker spends half on a tile of the screen
      atHand.add(--last);
      return index;
    },
    read: (view, w, h) => { time++; return new Uint8Array(4 * w * h); },
    onProgress: (part, seconds) => told.push([part, seconds, time]),
  });
  const later = told.filter(([part]) => part >= 0.25 && part < 1);
  assert.ok(later.length > 5);
  for (const [, seconds, at] of later)
    assert.ok(Math.abs(seconds - (time - at)) <= 0.25 * (time - at), `${seconds} ${time - at}`);
});

test("a large tile is rendered in pieces, between which the save can be cancelled", async () => {
  const picture = { width: 16, height: 16 }, scale = 64, { makeWriter } = makeRows();
  const run = (most) => {
    const pieces = [];
    return savePicture(picture, scale, {
      tiling: makeTiling(picture, CONFIG), margin: 0, ahead: () => 0, makeWriter, onProgress: () => {},
      isCancelled: () => pieces.length >= most, isAtHand: () => true, store: { put: () => {} },
      features: async (index) => index,
      read: (view, w, h) => {
        pieces.push([view.y * scale - h / 2, view.y * scale + h / 2]);
        assert.ok(w * h <= 2 ** 18);
        return new Uint8Array(4 * w * h).fill(pieces.length);
      },
    }).then((file) => ({ file, pieces }));
  };
  const { file, pieces } = await run(Infinity);
  let end = 0;
  for (const [first, next] of pieces) { assert.equal(first, end); end = next; }
  assert.equal(end, 1024);
  pieces.forEach(([first, next], i) => {
    for (const row of [first, next - 1]) assert.equal(file.bytes[3 * 1024 * row], i + 1);
  });
  const cancelled = await run(1);
  assert.equal(cancelled.file, null);
  assert.equal(cancelled.pieces.length, 1);
});

test("what is encoded after a save was cancelled is put nowhere: the store may be another's", async () => {
  const picture = { width: 40, height: 20 }, { rows, makeWriter } = makeRows();
  let isCancelled = false;
  const file = await savePicture(picture, 2, {
    tiling: makeTiling(picture, CONFIG), margin: 0, ahead: () => 0, makeWriter, onProgress: () => {},
    isCancelled: () => isCancelled, isAtHand: () => false, read: () => assert.fail(),
    features: async () => { isCancelled = true; return 0; }, store: { put: () => assert.fail() },
  });
  assert.equal(file, null);
  assert.ok(rows.isAborted);
});

test("the page answers between tiles, also where all are at hand", async () => {
  const picture = { width: 320, height: 320 }, { makeWriter } = makeRows();
  let isCancelled = false, drawn = 0;
  setTimeout(() => { isCancelled = true; });
  const file = await savePicture(picture, 1, {
    tiling: makeTiling(picture, CONFIG), margin: 0, ahead: () => 1, makeWriter, onProgress: () => {},
    isCancelled: () => isCancelled, isAtHand: () => true, store: { put: () => {} },
    features: async (index) => index,
    read: (_, w, h) => {
      const end = performance.now() + 1;
      while (performance.now() < end); // A slow graphics card keeps the page waiting.
      drawn++;
      return new Uint8Array(4 * w * h);
    },
  });
  assert.equal(file, null);
  assert.ok(drawn < 400);
});

test("a tile that cannot be encoded ends the save, also one that is not waited for yet", async () => {
  const picture = { width: 40, height: 20 }, { rows, makeWriter } = makeRows();
  await assert.rejects(savePicture(picture, 2, {
    tiling: makeTiling(picture, CONFIG), margin: 0, ahead: () => 2, makeWriter, onProgress: () => {},
    isCancelled: () => false, isAtHand: () => false, store: { put: () => {} },
    features: async (index) => { if (index) throw new Error("no memory"); return {}; },
    read: (_, w, h) => new Uint8Array(4 * w * h),
  }), /no memory/);
  assert.ok(rows.isAborted);
});

test("a cancelled picture is no file", async () => {
  const picture = { width: 40, height: 20 }, { rows, makeWriter } = makeRows();
  const file = await savePicture(picture, 0.5, { // Reductions need no functions.
    tiling: makeTiling(picture, CONFIG), margin: 0, ahead: () => 1, makeWriter, onProgress: () => {},
    isCancelled: () => true, features: () => assert.fail(), store: { put: () => assert.fail() },
    read: () => assert.fail(),
  });
  assert.equal(file, null);
  assert.ok(rows.isAborted);
});

test("wide pictures are rendered in bands of bounded size, each pixel once", async () => {
  const picture = { width: 160_000, height: 9 }, { rows, makeWriter } = makeRows();
  const progress = [], scale = 16;
  let drawn = 0, largest = 0;
  const write = async () => makeWriter().then((writer) => ({
    ...writer, async write({ length }) { rows.bands++; largest = Math.max(largest, length); },
  }));
  await savePicture(picture, scale, {
    tiling: makeTiling(picture, { tile: 16_000, halo: 0, margin: 0 }), margin: 0, ahead: () => 0,
    makeWriter: write, onProgress: (part) => progress.push(part), isCancelled: () => false,
    features: async (index) => index, isAtHand: () => true, store: { put: () => {} },
    read: (_, w, h) => { drawn += w * h; return []; },
  });
  assert.equal(drawn, picture.width * picture.height * scale ** 2);
  assert.ok(rows.bands > 10 && largest <= 64e6);
  assert.deepEqual(progress, [...progress].sort((a, b) => a - b));
  assert.equal(progress.at(-1), 1);
});

test("a base is corrected as far as the pixels of an output read", () => {
  for (const footprint of [0.1, 1, 1.37]) assert.equal(findExtra(footprint, 3), 0);
  for (const footprint of [1.6, 2, 3.3, 10]) {
    const extra = findExtra(footprint, 3);
    assert.ok(extra % 2 === 0 && extra + 3 >= 2 * footprint && extra < 2 * footprint + 2);
    assert.equal(findExtra(footprint, 0), 0); // The model corrects nothing.
  }
});
