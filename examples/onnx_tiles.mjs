// Enlarge an image of any size by ONNX graphs, in tiles: npm install onnxruntime-web pngjs
//
//   hyperfunc export --onnx graphs --scales 2 3
//   node examples/onnx_tiles.mjs graphs photo.png large.png 2
//
// A tile reads a halo around its own pixels, so that the result is that of the whole image at once.
// Where the image ends, the tile ends, too: there the graphs continue the image themselves. The result
// is that of `hyperfunc upscale` within one of 255 levels.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web";
import { PNG } from "pngjs";

const SIDE = 256; // of a tile, without its halo

// The RGBA bytes of a part of an image as a tensor [1, height, width, 3] in [0, 1].
const cut = ({ data, width }, top, left, bottom, right) => {
  const values = new Float32Array((bottom - top) * (right - left) * 3);
  let k = 0;
  for (let y = top; y < bottom; y++)
    for (let x = left; x < right; x++)
      for (let c = 0; c < 3; c++) values[k++] = data[4 * (y * width + x) + c] / 255;
  return new ort.Tensor("float32", values, [1, bottom - top, right - left, 3]);
};

// Make RGBA bytes grey.
const removeColour = (data) => {
  for (let i = 0; i < data.length; i += 4)
    data.fill((data[i] + data[i + 1] + data[i + 2]) / 3, i, i + 3);
};
const isGrey = (data) => data.every((level, i) => i % 4 === 3 || level === data[i - i % 4]);

// image: { data: RGBA bytes, width, height }.
export const enlarge = async ({ encoder, decoder, limiter }, image, scale, halo) => {
  const { width, height } = image;
  const large = { width: width * scale, height: height * scale };
  large.data = new Uint8ClampedArray(large.width * large.height * 4).fill(255);
  for (let top = 0; top < height; top += SIDE)
    for (let left = 0; left < width; left += SIDE) {
      const above = Math.max(top - halo, 0), before = Math.max(left - halo, 0);
      const bottom = Math.min(top + SIDE, height), right = Math.min(left + SIDE, width);
      const below = Math.min(bottom + halo, height), after = Math.min(right + halo, width);
      const tile = cut(image, above, before, below, after);
      // Models that restore correct the image; the base of others is the image itself.
      const { features, base = tile } = await encoder.run({ image: tile });
      const { pixels } = await decoder.run({ features, base });
      // Beside edges the function ripples; in flat areas, where that would show, it may not.
      const { limited } = await limiter.run({ image: tile, pixels });
      const row = limited.dims[2] * 3;
      for (let y = top * scale; y < bottom * scale; y++)
        for (let x = left * scale; x < right * scale; x++) {
          const from = (y - above * scale) * row + (x - before * scale) * 3;
          for (let c = 0; c < 3; c++) { // The array clips; it rounds halves to even.
            const level = Math.floor(limited.data[from + c] * 255 + 0.5);
            large.data[4 * (y * large.width + x) + c] = level;
          }
        }
    }
  if (isGrey(image.data)) removeColour(large.data); // The model would tint it.
  return large;
};

const [folder, source, target, scale] = process.argv.slice(2);
const open = (name) => ort.InferenceSession.create(readFileSync(`${folder}/${name}.onnx`));
const { receptive_radius, base_radius, alignment } = JSON.parse(readFileSync(`${folder}/config.json`));
const halo = Math.ceil(Math.max(receptive_radius + 1, base_radius + 2) / alignment) * alignment;
if (!existsSync(`${folder}/decoder_x${scale}.onnx`)) {
  console.error(`${folder} has no decoder for the scale ${scale}: export it with --scales ${scale}`);
  process.exit(1);
}
const image = PNG.sync.read(readFileSync(source));
const names = { encoder: "encoder", decoder: `decoder_x${scale}`, limiter: "limiter" };
const graphs = {};
for (const [part, name] of Object.entries(names)) graphs[part] = await open(name);
const large = await enlarge(graphs, image, Number(scale), halo);
writeFileSync(target, PNG.sync.write({ ...large, data: Buffer.from(large.data.buffer) }));
