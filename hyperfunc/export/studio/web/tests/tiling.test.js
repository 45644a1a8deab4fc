import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./parts.js";

const { makeTiling } = load(["tiling.js"], "makeTiling");
const SIDE = 16, HALO = 6, MARGIN = 3, CONFIG = { tile: SIDE, halo: HALO, margin: MARGIN };

// A picture whose red and green are the column and the row of a pixel.
const draw = (width, height) => {
  const rgba = new Uint8ClampedArray(4 * width * height);
  for (let i = 0; i < width * height; i++) rgba.set([i % width, Math.floor(i / width), 0, 255], 4 * i);
  return rgba;
};

for (const [width, height] of [[1, 1], [16, 16], [17, 40], [50, 33]])
  test(`tiles cover ${width} x ${height} pixels once, each with its surroundings`, () => {
    const tiling = makeTiling({ width, height }, CONFIG), rgba = draw(width, height);
    const seen = new Set();
    for (let index = 0; index < tiling.count; index++) {
      const tile = tiling.at(index), cut = tiling.cut(rgba, index);
      for (let y = tile.top; y < tile.bottom; y++)
        for (let x = tile.left; x < tile.right; x++) seen.add(y * width + x);
      const [skipX, skipY] = cut.skip, [columns, rows] = cut.cells;
      const first = 4 * (skipY * cut.width + skipX); // the first cell
      // Where the cell lies in the place of the tile, whose own cells begin at 1.
      assert.equal(cut.bytes[first], tile.left + cut.offset[0] - 1);
      assert.equal(cut.bytes[first + 1], tile.top + cut.offset[1] - 1);
      const last = 4 * ((skipY + rows - 1) * cut.width + skipX + columns - 1);
      assert.equal(cut.bytes[last], Math.min(tile.right, width - 1));
      assert.equal(cut.bytes[last + 1], Math.min(tile.bottom, height - 1));
      // The halo is whole except where the picture ends.
      assert.equal(cut.bytes[0], Math.max(tile.left - HALO, 0));
      assert.equal(cut.bytes.at(-4), Math.min(tile.right + HALO, width) - 1);
      // The corrected pixels lie where they are put.
      const wide = tiling.cut(rgba, index, 4);
      for (const [{ bytes, width: across, corrected }, margin] of [[cut, MARGIN], [wide, MARGIN + 4]]) {
        const at = 4 * (corrected.skip[1] * across + corrected.skip[0]);
        assert.deepEqual([...bytes.subarray(at, at + 2)], [corrected.left, corrected.top]);
        assert.equal(corrected.left, Math.max(tile.left - margin, 0));
        assert.equal(corrected.top + corrected.size[1], Math.min(tile.bottom + margin, height));
      }
    }
    assert.equal(seen.size, width * height);
  });

test("the tiles in the middle of a view come first", () => {
  const tiling = makeTiling({ width: 160, height: 160 }, CONFIG);
  const view = { x: 88, y: 72, zoom: 4, rotation: 0 };
  const { tiles, shown } = tiling.visible(view, 160, 80); // 40 x 20 pixels around the middle
  assert.equal(tiles[0], 4 * 10 + 5);
  assert.equal(shown, tiles.length);
  const places = tiles.map(tiling.at).map(({ column, row }) => [column, row]);
  const spread = (k) => [Math.min(...places.map((p) => p[k])), Math.max(...places.map((p) => p[k]))];
  assert.deepEqual([spread(0), spread(1)], [[4, 6], [3, 5]]);
  const { tiles: turned } = tiling.visible({ ...view, rotation: Math.PI / 2 }, 160, 80);
  assert.ok(turned.includes(3 * 10 + 5) && turned.includes(5 * 10 + 5));
  const all = tiling.visible({ x: 0, y: 0, zoom: 0.01, rotation: 1 }, 800, 600);
  assert.equal(all.tiles.length, 100);
});

test("tiles that the comparison line covers come last", () => {
  const tiling = makeTiling({ width: 160, height: 160 }, CONFIG);
  const view = { x: 80, y: 80, zoom: 5, compare: true, split: 0.501 };
  for (const [turn, isCovered] of [ // quarters, clockwise
    [0, ({ column }) => column < 5], [1, ({ row }) => row >= 5],
    [2, ({ column }) => column >= 5], [3, ({ row }) => row < 5],
  ]) {
    const { tiles, shown } = tiling.visible({ ...view, rotation: turn * Math.PI / 2 }, 800, 800);
    assert.deepEqual([tiles.length, shown], [100, 50]);
    assert.deepEqual(tiles.slice(50).filter((index) => !isCovered(tiling.at(index))), []);
  }
  const all = tiling.visible({ ...view, rotation: 0, compare: false }, 800, 800);
  assert.equal(all.shown, 100);
  // A tile of which the line covers a part is shown.
  assert.equal(tiling.visible({ ...view, rotation: 0, split: 0.49 }, 800, 800).shown, 60);
});
