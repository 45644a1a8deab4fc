import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, inflateSync } from "node:zlib";
import { load } from "./parts.js";

const { makeMemorySink, makePng } = load(["sinks.js", "png.js"], "makeMemorySink", "makePng");

// The chunks of a PNG, whose checksums are right.
const parse = (bytes) => {
  const view = new DataView(bytes.buffer), chunks = [];
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    assert.equal(view.getUint32(at + 8 + length), crc32(bytes.subarray(at + 4, at + 8 + length)));
    chunks.push([kind, bytes.subarray(at + 8, at + 8 + length)]);
    at += 12 + length;
  }
  return chunks;
};

test("a PNG that is written in bands holds its pixels", async () => {
  const width = 37, height = 50, rgb = new Uint8Array(3 * width * height);
  for (let i = 0; i < rgb.length; i++) rgb[i] = (i * i * 31 + (i >> 3)) & 255;
  const png = await makePng(width, height, makeMemorySink("image/png"));
  await png.write(rgb.subarray(0, 3 * width * 20));
  await png.write(rgb.subarray(3 * width * 20));
  const bytes = new Uint8Array(await (await png.finish()).arrayBuffer());
  assert.deepEqual([...bytes.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
  const chunks = parse(bytes);
  assert.equal(chunks[0][0], "IHDR");
  assert.equal(chunks.at(-1)[0], "IEND");
  const parts = chunks.filter(([kind]) => kind === "IDAT").map(([, data]) => data);
  const lines = inflateSync(Buffer.concat(parts));
  assert.equal(lines.length, height * (3 * width + 1));
  const decoded = new Uint8Array(rgb.length);
  for (let y = 0; y < height; y++) {
    assert.equal(lines[y * (3 * width + 1)], 1); // the filter Sub
    for (let i = 0; i < 3 * width; i++) {
      const at = 3 * width * y + i;
      decoded[at] = lines[y * (3 * width + 1) + 1 + i] + (i < 3 ? 0 : decoded[at - 3]);
    }
  }
  assert.deepEqual(decoded, rgb);
});

test("a file that cannot be written stops the next rows, too", async () => {
  let room = 300_000;
  const sink = {
    async write({ length }) { room -= length; if (room < 0) throw new Error("the disk is full"); },
  };
  const width = 1000, rgb = Uint8Array.from({ length: 3 * width * 100 }, () => 256 * Math.random());
  const png = await makePng(width, 1000, sink);
  await assert.rejects(async () => {
    for (let i = 0; i < 10; i++) await png.write(rgb);
    await png.finish();
  }, /the disk is full/);
});
