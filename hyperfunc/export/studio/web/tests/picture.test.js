import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { isGreyEverywhere } = load(["picture.js"], "isGreyEverywhere");

test("a picture is grey if all its pixels are", () => {
  const rgba = Uint8ClampedArray.from([7, 7, 7, 255, 9, 9, 9, 0]);
  assert.ok(isGreyEverywhere(rgba));
  for (const i of [4, 5, 6]) assert.ok(!isGreyEverywhere(rgba.with(i, 8)));
});
