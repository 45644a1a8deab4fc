import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./parts.js";

const { makeRefresher } = load(["refresher.js"], "makeRefresher");
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

test("what is asked for during a drawing is drawn once, after a pause", async () => {
  const began = [], ended = [];
  const refresh = makeRefresher(async () => {
    began.push(performance.now());
    await wait(40);
    ended.push(performance.now());
  });
  refresh();
  refresh();
  await wait(20);
  refresh();
  await wait(600); // Twice 40 ms of drawing and as much of rest, on a busy machine.
  assert.equal(began.length, 2);
  assert.ok(began[1] - ended[0] > 30);
  refresh();
  assert.equal(began.length, 3); // At rest, it draws at once.
});
