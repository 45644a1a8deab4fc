import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./parts.js";

const { canStream, makeMemorySink, openFileSink } = load(
  ["sinks.js"], "canStream", "makeMemorySink", "openFileSink");

test("bytes that are kept in memory become a file in their order", async () => {
  const sink = makeMemorySink("image/png");
  for (let i = 0; i < 5; i++) await sink.write(new Uint8Array(3e6).fill(i));
  const file = await sink.close(), bytes = new Uint8Array(await file.arrayBuffer());
  assert.equal(file.type, "image/png");
  assert.equal(bytes.length, 15e6);
  for (let i = 0; i < 5; i++) assert.deepEqual([bytes[3e6 * i], bytes[3e6 * (i + 1) - 1]], [i, i]);
});

test("bytes of a chosen file are written at once", async () => {
  const written = [], told = [];
  const stream = {
    write: async (bytes) => written.push(...bytes),
    close: async () => told.push("closed"), abort: async () => told.push("aborted"),
  };
  const handle = { createWritable: async () => stream, remove: async () => told.push("removed") };
  globalThis.window = {};
  assert.ok(!canStream());
  window.showSaveFilePicker = async ({ suggestedName, types }) => {
    assert.deepEqual([suggestedName, types[0].accept], ["a.png", { "image/png": [".png"] }]);
    return handle;
  };
  assert.ok(canStream());
  const sink = await openFileSink("a.png", "image/png", ".png");
  await sink.write(new Uint8Array([1, 2]));
  assert.deepEqual(written, [1, 2]);
  assert.equal(await sink.close(), handle);
  await sink.abort();
  assert.deepEqual(told, ["closed", "aborted", "removed"]);
  window.showSaveFilePicker = async () => { throw new DOMException("no", "AbortError"); };
  assert.equal(await openFileSink("a.png", "image/png", ".png"), null);
});
