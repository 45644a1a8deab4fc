// Write a WebP by a canvas, which holds the whole picture.

const WEBP_QUALITY = 0.9;
const MAX_WEBP_SIDE = 16383; // of the format
const MAX_WEBP_PIXELS = 2 ** 28; // of canvases in Chromium; others have less, which is an error

const makeWebp = (width, height) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This device has too little memory for this WebP: save a PNG.");
  let row = 0;
  return {
    // Append rows: RGB bytes.
    async write(rgb) {
      const image = new ImageData(width, rgb.length / (3 * width));
      for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
        for (let c = 0; c < 3; c++) image.data[to + c] = rgb[from + c];
        image.data[to + 3] = 255;
      }
      context.putImageData(image, 0, row);
      row += image.height;
    },
    async finish() {
      const blob = await new Promise((done) => canvas.toBlob(done, "image/webp", WEBP_QUALITY));
      // Browsers that know no WebP write a PNG.
      if (blob?.type !== "image/webp")
        throw new Error("This browser cannot write this picture as a WebP: save a PNG.");
      return blob;
    },
    async abort() { canvas.width = canvas.height = 0; },
  };
};
