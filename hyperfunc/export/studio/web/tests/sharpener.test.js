import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { makeSharpener } = load(["sharpener.js"], "makeSharpener");

const observe = async (visible, zoom) => {
  const stored = new Set();
  const store = {
    capacity: 4, has: (index) => stored.has(index), touch() {}, put: (index) => stored.add(index),
  };
  const seen = [];
  const sharpener = makeSharpener({
    tiling: { visible: () => visible }, store, pool: { size: 2 }, encode: async (index) => index,
    getView: () => ({ view: { zoom } }), correctsAll: false,
  }, (progress) => seen.push(progress), assert.fail);
  sharpener.update();
  await new Promise((done) => setTimeout(done, 60));
  return { stored, last: seen.at(-1) };
};

test("all tiles on the screen are encoded", async () => {
  const { stored, last } = await observe([7, 8], 1);
  assert.deepEqual([...stored].sort(), [7, 8]);
  assert.deepEqual([last.done, last.wanted, last.isPart], [2, 2, false]);
});

test("of more tiles than there is room for, those in the middle are", async () => {
  const { stored, last } = await observe([5, 6, 4, 7, 3], 1);
  assert.deepEqual([...stored].sort(), [4, 5, 6]);
  assert.deepEqual([last.done, last.wanted, last.isPart], [3, 3, true]);
});

test("nothing is encoded where pixels are large", async () => {
  const { last } = await observe([5, 6], 0.5);
  assert.equal(last.wanted, 0);
});
