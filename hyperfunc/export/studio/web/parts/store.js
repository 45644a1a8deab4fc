// The coefficients of tiles on the graphics card: as many as its memory allows, the last ones used.

const ACROSS = 8; // tiles in a row of the texture
const MAX_DOWN = 5; // rows: 40 tiles of 128 x 128 cells take 270 MB

// kernel: Float32Array, from features to coefficients, as encode.py packs it.
// margin: as in tiling.js; not 0 where the model corrects pixels, which are kept for the whole picture.
const makeStore = (gl, { tile, quads, layers, margin }, kernel) => {
  const side = tile + 2; // with one cell around
  const allocate = () => {
    for (let down = MAX_DOWN; down >= 1; down--) {
      const texture = makeTexture(gl, COEFFICIENTS_UNIT, gl.TEXTURE_2D_ARRAY);
      gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA32UI, ACROSS * side, down * side, layers);
      if (gl.getError() === gl.NO_ERROR) return [texture, down];
      gl.deleteTexture(texture);
    }
    throw new Error("This device has too little graphics memory for functions.");
  };
  const [coefficients, down] = allocate();
  const free = Array.from({ length: ACROSS * down }, (_, i) => i);
  const slots = new Map(); // from tiles to slots, those used last at the end

  const features = makeTexture(gl, FEATURES_UNIT, gl.TEXTURE_2D_ARRAY);
  gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA32F, side, side, quads);
  const factors = makeTexture(gl, KERNEL_UNIT, gl.TEXTURE_2D);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, quads * 8, layers, 0, gl.RGBA, gl.FLOAT, kernel);
  const { program, at } = link(gl, "expand-shader", { QUADS: quads, TILE: tile });
  const framebuffer = gl.createFramebuffer();
  gl.bindVertexArray(gl.createVertexArray());
  let places = null, corrections = null; // of a picture

  const expand = (x, y) => {
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.useProgram(program);
    gl.uniform1i(at("features"), FEATURES_UNIT);
    gl.uniform1i(at("kernel"), KERNEL_UNIT);
    gl.uniform2i(at("origin"), x, y);
    gl.viewport(x, y, side, side);
    for (let layer = 0; layer < layers; layer++) {
      gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, coefficients, 0, layer);
      gl.uniform1i(at("layer"), layer);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  };

  // Tell the shader where a tile's first cell is; [0, 0]: nowhere.
  const setPlace = ({ column, row }, place) => {
    gl.activeTexture(gl.TEXTURE0 + PLACES_UNIT);
    gl.texSubImage2D(
      gl.TEXTURE_2D, 0, column, row, 1, 1, gl.RG_INTEGER, gl.UNSIGNED_SHORT, new Uint16Array(place));
  };

  let tiling = null;
  const corrected = new Set(); // tiles
  return {
    capacity: ACROSS * down,
    has: (index) => slots.has(index),
    corrects: (index) => corrected.has(index),

    // Use the store for a picture; it is empty then.
    reset(newTiling) {
      tiling = newTiling;
      free.push(...slots.values());
      slots.clear();
      this.forgetPicture();
      places = makeTexture(gl, PLACES_UNIT, gl.TEXTURE_2D);
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      const { columns, rows } = tiling;
      gl.texImage2D(
        gl.TEXTURE_2D, 0, gl.RG16UI, columns, rows, 0, gl.RG_INTEGER, gl.UNSIGNED_SHORT,
        new Uint16Array(2 * columns * rows));
      if (!margin) return;
      corrections = makeTexture(gl, CORRECTIONS_UNIT, gl.TEXTURE_2D);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA16F, tiling.width, tiling.height);
    },
    forgetPicture() {
      for (const texture of [places, corrections]) if (texture) gl.deleteTexture(texture);
      places = corrections = null;
      corrected.clear();
    },
    close() {
      this.forgetPicture();
      for (const texture of [coefficients, features, factors]) gl.deleteTexture(texture);
      gl.deleteFramebuffer(framebuffer);
      gl.deleteProgram(program);
    },

    // Protect a tile: others are replaced first.
    touch(index) {
      const slot = slots.get(index);
      slots.delete(index);
      slots.set(index, slot);
    },

    // Correct the pixels of a tile, as an encoder returns them; for all tiles there is room.
    correct(index, { colours, corrected: { left, top, size: [columns, rows] } }) {
      gl.activeTexture(gl.TEXTURE0 + CORRECTIONS_UNIT);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, left, top, columns, rows, gl.RGBA, gl.FLOAT, colours);
      corrected.add(index);
    },

    // Put the features of a tile in place of the tile used longest ago, and correct its pixels.
    put(index, encoded) {
      const { data, cells: [w, h], offset: [x, y], colours } = encoded;
      if (colours) this.correct(index, encoded);
      if (slots.has(index)) return;
      if (!free.length) {
        const [oldest, slot] = slots.entries().next().value;
        slots.delete(oldest);
        setPlace(tiling.at(oldest), [0, 0]);
        free.push(slot);
      }
      const slot = free.pop();
      slots.set(index, slot);
      gl.activeTexture(gl.TEXTURE0 + FEATURES_UNIT);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, features);
      gl.texSubImage3D(
        gl.TEXTURE_2D_ARRAY, 0, x, y, 0, w, h, quads, gl.RGBA, gl.FLOAT, data);
      const [left, top] = [side * (slot % ACROSS), side * Math.floor(slot / ACROSS)];
      expand(left, top);
      setPlace(tiling.at(index), [left + 1, top + 1]);
    },
  };
};
