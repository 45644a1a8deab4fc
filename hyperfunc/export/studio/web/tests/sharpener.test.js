import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { makeSharpener } = load(["sharpener.js"], "makeSharpener");

// What a sharpener does for a view: the tiles it puts and corrects, and what it says at the end.
const observe = async (tiles, { zoom = 1, shown = tiles.length, corrects = false } = {}) => {
  const stored = new Set(), corrected = new Set(), seen = [];
  let encoded = 0;
  const store = {
    capacity: 4, has: (index) => stored.has(index), touch() {},
    corrects: (index) => corrected.has(index), correct: (index) => corrected.add(index),
    put(index) { stored.add(index); if (corrects) corrected.add(index); },
  };
  const sharpener = makeSharpener({
    tiling: { visible: () => ({ tiles, shown }) }, store, pool: { size: 2 },
    encode: async (index) => { encoded++; return index; },
    getView: () => ({ view: { zoom } }), corrects,
  }, (progress) => seen.push(progress), assert.fail);
  sharpener.update();
  await new Promise((done) => setTimeout(done, 60));
  const { done, wanted, isPart } = seen.at(-1);
  return { stored: [...stored], corrected: [...corrected], encoded, last: [done, wanted, isPart] };
};

test("all tiles on the screen are encoded", async () => {
  const { stored, last } = await observe([7, 8]);
  assert.deepEqual(stored.sort(), [7, 8]);
  assert.deepEqual(last, [2, 2, false]);
});

test("of more tiles than there is room for, those in the middle are", async () => {
  const { stored, last } = await observe([5, 6, 4, 7, 3]);
  assert.deepEqual(stored.sort(), [4, 5, 6]);
  assert.deepEqual(last, [3, 3, true]);
});

test("what the comparison line covers needs no room", async () => {
  const { last } = await observe([5, 6, 4, 7, 3], { shown: 3 });
  assert.deepEqual(last, [3, 3, false]);
});

test("nothing is encoded where pixels are large", async () => {
  const { encoded, last } = await observe([5, 6, 4, 7, 3], { zoom: 0.5 });
  assert.deepEqual([encoded, ...last], [0, 0, 0, false]);
});

test("a picture that is corrected is so everywhere, at any zoom", async () => {
  const tiles = [5, 6, 4, 7, 3], all = [...tiles].sort();
  const small = await observe(tiles, { zoom: 0.5, corrects: true });
  assert.deepEqual([small.stored, small.corrected.sort()], [[], all]);
  assert.deepEqual([small.encoded, ...small.last], [5, 5, 5, false]);
  const large = await observe(tiles, { corrects: true });
  assert.deepEqual([large.stored.sort(), large.corrected.sort()], [[4, 5, 6], all]);
  assert.deepEqual([large.encoded, ...large.last], [5, 5, 5, true]);
});
