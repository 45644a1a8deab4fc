import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { shorten } = load(["../../../page/parts/scripts/labels.js"], "shorten");

test("a long title keeps its beginning and its end", () => {
  for (const title of ["", "photo.jpg", "x".repeat(72)]) assert.equal(shorten(title), title);
  const name = `${"😀 holiday ".repeat(10)}of 2024 (12).jpeg`, short = shorten(name);
  assert.equal([...short].length, 72);
  const [head, tail] = short.split("…");
  assert.ok(name.startsWith(head) && name.endsWith(tail) && tail.endsWith("of 2024 (12).jpeg"));
  assert.ok(short.isWellFormed());
});
