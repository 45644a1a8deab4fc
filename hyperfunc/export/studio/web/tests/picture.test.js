import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { isGreyEverywhere, layOnWhite } = load(["picture.js"], "isGreyEverywhere", "layOnWhite");

test("a picture is grey if all its pixels are", () => {
  const rgba = Uint8ClampedArray.from([7, 7, 7, 255, 9, 9, 9, 0]);
  assert.ok(isGreyEverywhere(rgba));
  for (const i of [4, 5, 6]) assert.ok(!isGreyEverywhere(rgba.with(i, 8)));
});

test("transparent pixels are laid on white, and others stay", () => {
  const opaque = Uint8ClampedArray.from([10, 20, 30, 255, 0, 0, 0, 255]), before = [...opaque];
  assert.equal(layOnWhite(opaque), false);
  assert.deepEqual([...opaque], before);
  const clear = Uint8ClampedArray.from([10, 20, 30, 255, 9, 9, 9, 0, 255, 55, 100, 51]);
  assert.equal(layOnWhite(clear), true);
  assert.deepEqual([...clear], [10, 20, 30, 255, 255, 255, 255, 255, 255, 215, 224, 255]);
});
