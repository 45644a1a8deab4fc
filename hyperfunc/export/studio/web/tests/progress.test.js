import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { tellProgress, tellSaving } = load(["progress.js"], "tellProgress", "tellSaving");

const CASES = [
  [{ done: 0, wanted: 0 }, false, "shown smaller, zoom in to sharpen"],
  [{ done: 0, wanted: 4, seconds: null }, false, "sharpening tile 1 of 4"],
  [{ done: 1, wanted: 4, seconds: 7.2 }, false, "sharpening tile 2 of 4, about 8 s"],
  [{ done: 1, wanted: 768, seconds: 1500 }, true, "restoring tile 2 of 768, about 25 min"],
  [{ done: 4, wanted: 4, seconds: 0 }, false, "sharp"],
  [{ done: 4, wanted: 4, isPart: true }, false, "sharp in the middle, zoom in for the rest"],
  [{ done: 4, wanted: 4 }, true, "restored"],
  [{ done: 9, wanted: 9, isPart: true }, true, "restored, sharp in the middle, zoom in for the rest"],
];

test("the legend says what is sharp, and what to do about the rest", () => {
  for (const [progress, restores, text] of CASES)
    assert.equal(tellProgress(progress, restores, true), text);
});

test("while the model is loaded, the legend says so", () => {
  const progress = { done: 0, wanted: 4, seconds: null };
  assert.equal(tellProgress(progress, false, false), "sharpening tile 1 of 4: loading the model");
});

test("a save tells its part, and the time that is left once it is known", () => {
  assert.equal(tellSaving(0.001, null), "0 %, estimating the time");
  assert.equal(tellSaving(0.25, 29.5), "25 %, about 30 s left");
  assert.equal(tellSaving(0.1, 540), "10 %, about 9 min left");
  assert.equal(tellSaving(1, 0), "100 %, finishing the file");
});
