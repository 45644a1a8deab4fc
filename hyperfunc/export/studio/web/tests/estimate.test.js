import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { makeEstimate } = load(["estimate.js"], "makeEstimate");

// Save tiles: each is waited for and drawn, after the model was loaded. isAtHand(tile, i): whether a
// tile is encoded already when tile i is saved. Returns, for each tile, the estimate and the time that
// was left then.
const follow = ({ tiles, loading, drawing, wait, isAtHand = () => false, workers = 1 }) => {
  let time = loading;
  const estimate = makeEstimate(() => time), told = [];
  for (let i = 0; i < tiles; i++) {
    const seconds = isAtHand(i, i) ? 0 : wait(i);
    time += seconds;
    estimate.add(seconds + (i ? 0 : loading));
    time += drawing;
    const rest = Array.from({ length: tiles }, (_, k) => k).filter((k) => k > i && !isAtHand(k, i));
    told.push([estimate.left((i + 1) / tiles, rest.length, workers), time]);
  }
  return told.map(([seconds, at]) => [seconds, time - at]);
};

const assertRight = (told) => {
  const known = told.filter(([seconds]) => seconds !== null);
  assert.ok(known.length > told.length / 2);
  for (const [seconds, left] of known) assert.ok(Math.abs(seconds - left) <= 0.01 * left + 1e-6);
};

test("loading the model is not in the estimate", () => {
  const told = follow({ tiles: 40, loading: 30, drawing: 0.5, wait: () => 1 });
  assert.deepEqual(told.slice(0, 2).map(([seconds]) => seconds), [null, null]);
  assertRight(told);
});

test("tiles that are encoded already take no more than their drawing", () => {
  assertRight(follow({
    tiles: 60, loading: 10, drawing: 0.2, wait: () => 2, isAtHand: (i) => i >= 20 && i < 40,
  }));
});

test("tiles that the screen encodes meanwhile need not be encoded again", () => {
  // While the save waits for one tile, another is encoded for the screen, the last ones first.
  const isAtHand = (tile, i) => tile >= 40 - i;
  const told = follow({ tiles: 40, loading: 3, drawing: 0, wait: () => 4, isAtHand });
  const known = told.filter(([seconds]) => seconds !== null);
  assert.ok(known.length > told.length / 2);
  for (const [seconds, left] of known) assert.ok(Math.abs(seconds - left) <= 4);
});

test("nothing is encoded where all is at hand", () => {
  assertRight(follow({ tiles: 60, loading: 0, drawing: 0.3, wait: () => 0, isAtHand: () => true }));
});

test("workers side by side give several tiles at a time", () => {
  const workers = 4; // The first of each four is waited for.
  const told = follow({ tiles: 80, loading: 9, drawing: 0, wait: (i) => i % 4 ? 0 : 8, workers });
  for (const [seconds, left] of told.filter(([x]) => x !== null))
    assert.ok(Math.abs(seconds - left) <= 8 + left);
  const ends = told.filter((_, i) => i % 4 === 0 && i > 4);
  for (const [seconds, left] of ends) assert.ok(Math.abs(seconds - left) <= 8 + 1e-6);
});
