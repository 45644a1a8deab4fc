// From the arrays in the page to textures: the coefficients of the target networks, and the base.

const SCALES_UNIT = PREVIEW_UNIT; // There are no previews yet.

// Upload the arrays, multiply features by the kernel on the graphics card, and keep the product in
// COEFFICIENTS_UNIT and the base image in BASE_UNIT.
// payload: the arrays one after the other, as encode.py writes them.
const uploadCoefficients = (gl, config, payload) => {
  const { width, height, quads, layers } = config;
  if (Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE))
    throw new Error("This image is too large for this device's graphics card.");
  let start = 0;
  const take = (kind, length) => {
    const array = new kind(payload, start, length);
    start += array.byteLength;
    return array;
  };
  const kernel = take(Float32Array, quads * 32 * layers);
  const scales = take(Float32Array, quads * 4 * height);
  const features = take(Int8Array, quads * 4 * width * height);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);

  const coefficients = makeTexture(gl, COEFFICIENTS_UNIT, gl.TEXTURE_2D_ARRAY);
  gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA32UI, width, height, layers);
  const featuresTexture = makeTexture(gl, FEATURES_UNIT, gl.TEXTURE_2D_ARRAY);
  gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA8I, width, height, quads);
  gl.texSubImage3D(
    gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, width, height, quads, gl.RGBA_INTEGER, gl.BYTE, features);
  const kernelTexture = makeTexture(gl, KERNEL_UNIT, gl.TEXTURE_2D);
  gl.texImage2D(
    gl.TEXTURE_2D, 0, gl.RGBA32F, quads * 8, layers, 0, gl.RGBA, gl.FLOAT, kernel);
  const scalesTexture = makeTexture(gl, SCALES_UNIT, gl.TEXTURE_2D);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, quads, height, 0, gl.RGBA, gl.FLOAT, scales);
  if (config.base) {
    makeTexture(gl, BASE_UNIT, gl.TEXTURE_2D);
    const base = take(Uint8Array, 3 * width * height);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, width, height, 0, gl.RGB, gl.UNSIGNED_BYTE, base);
  }

  multiply(gl, config, coefficients);
  const error = gl.getError();
  if (error === gl.OUT_OF_MEMORY)
    throw new Error("This image is too large for this device's graphics memory.");
  if (error !== gl.NO_ERROR && !gl.isContextLost()) throw new Error("WebGL error " + error);
  for (const texture of [featuresTexture, kernelTexture, scalesTexture]) gl.deleteTexture(texture);
};

// Draw features times kernel into each layer of the coefficients.
const multiply = (gl, { width, height, quads, layers }, coefficients) => {
  const { program, at } = link(gl, "expand-shader", { QUADS: quads, TILE: 0 });
  const framebuffer = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
  gl.bindVertexArray(gl.createVertexArray());
  gl.useProgram(program);
  gl.uniform1i(at("features"), FEATURES_UNIT);
  gl.uniform1i(at("kernel"), KERNEL_UNIT);
  gl.uniform1i(at("scales"), SCALES_UNIT);
  gl.viewport(0, 0, width, height);
  for (let layer = 0; layer < layers; layer++) {
    gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, coefficients, 0, layer);
    gl.uniform1i(at("layer"), layer);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.flush();
  }
  gl.deleteFramebuffer(framebuffer);
  gl.deleteProgram(program);
};
