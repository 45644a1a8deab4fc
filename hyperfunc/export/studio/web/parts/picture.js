// From a file to the pixels of a picture.

const MAX_PIXELS = 40e6; // 160 MB as RGBA

const isGreyEverywhere = (rgba) => {
  for (let i = 0; i < rgba.length; i += 4)
    if (rgba[i] !== rgba[i + 1] || rgba[i] !== rgba[i + 2]) return false;
  return true;
};

// Lay RGBA pixels on white, in place. Returns whether any was transparent.
const layOnWhite = (rgba) => {
  let isTransparent = false;
  for (let i = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3];
    if (alpha === 255) continue;
    isTransparent = true;
    for (let c = i; c < i + 3; c++) rgba[c] = 255 + (rgba[c] - 255) * alpha / 255; // It rounds.
    rgba[i + 3] = 255;
  }
  return isTransparent;
};

// maxSide: of a texture. Returns { width, height, rgba, isGrey, notes }; a picture that is too large
// for this device is reduced, and transparent pixels are laid on white.
const readPicture = async (blob, maxSide) => {
  let bitmap;
  try { bitmap = await createImageBitmap(blob); }
  catch { throw new Error("This browser cannot read this file as a picture: try a JPEG or a PNG."); }
  const { width: w, height: h } = bitmap;
  const scale = Math.min(1, maxSide / Math.max(w, h), Math.sqrt(MAX_PIXELS / (w * h)));
  const width = Math.max(1, Math.floor(w * scale)), height = Math.max(1, Math.floor(h * scale));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This device has too little memory for this picture.");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data, notes = [];
  if (scale < 1) notes.push(`the file's ${w} × ${h} pixels are too many for this device`);
  if (layOnWhite(rgba)) notes.push("transparent parts became white");
  return { width, height, rgba, isGrey: isGreyEverywhere(rgba), notes };
};
