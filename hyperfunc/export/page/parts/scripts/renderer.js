// Draws a view: the whole of it coarsely, a band of it finely, or all of it into an array.

const GROUND = [15 / 255, 17 / 255, 20 / 255];
const GRADIENT_GAIN = 3; // A gradient magnitude g, per input pixel, is shown as 1 - exp(-gain * g).

// The coefficients and the base are in their units; config.tile: see field.glsl; 0 without tiles.
// config.margin: of a tile, as tiling.js has it; not 0 where the model corrects the base.
// config.overshoot: see limit.glsl; missing where nothing is saved. config.isGrey: of the picture.
const makeRenderer = (gl, config) => {
  const programs = [];
  const use = (isGradient) => {
    const key = isGradient ? 1 : 0;
    if (!programs[key]) {
      const { program, at } = programs[key] = link(gl, "view-shader", {
        GRADIENT: key, BASE: config.base ? 1 : 0, WAVES: config.waves.length,
        LAYERS: config.layers, TILE: config.tile ?? 0, GAIN: GRADIENT_GAIN.toFixed(1),
        CORRECTED: config.margin ? 1 : 0, GREY: config.isGrey ? 1 : 0, RADIUS: 0,
        ...config.overshoot,
      });
      gl.useProgram(program);
      gl.uniform1i(at("coefficients"), COEFFICIENTS_UNIT);
      gl.uniform1i(at("pixels"), BASE_UNIT);
      gl.uniform1i(at("places"), PLACES_UNIT);
      gl.uniform1i(at("corrections"), CORRECTIONS_UNIT);
      gl.uniform4fv(at("waves"), new Float32Array(
        config.waves.flatMap(([x, y]) => [x, y, config.kappa * x * x, config.kappa * y * y])));
      gl.uniform2f(at("size"), config.width, config.height);
      gl.uniform3fv(at("ground"), config.ground ?? GROUND);
    }
    gl.useProgram(programs[key].program);
    return programs[key].at;
  };

  // Draw a view of w x h screen pixels into the bound framebuffer, at 1 / ratio of its resolution.
  const draw = (view, w, h, ratio = 1) => {
    const at = use(view.gradient);
    const cos = Math.cos(view.rotation) / view.zoom, sin = Math.sin(view.rotation) / view.zoom;
    gl.uniform2f(at("centre"), view.x, view.y);
    const tall = view.tall ?? 1;
    gl.uniformMatrix2fv(at("turn"), false, [cos, -sin, sin * tall, cos * tall]);
    gl.uniform2f(at("view"), w, h);
    gl.uniform1f(at("ratio"), ratio);
    gl.uniform2f(at("footprint"), ratio / view.zoom, ratio / view.zoom * tall);
    gl.uniform1i(at("isLimited"), view.limited ? 1 : 0);
    gl.uniform1f(at("split"), view.compare ? view.split * w : 0);
    gl.viewport(0, 0, Math.ceil(w / ratio), Math.ceil(h / ratio));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  };

  let offscreen = null; // A framebuffer with its texture and size, for previews and for read.
  const bindOffscreen = (w, h) => {
    if (offscreen?.w !== w || offscreen?.h !== h) {
      if (offscreen) {
        gl.deleteFramebuffer(offscreen.framebuffer);
        gl.deleteTexture(offscreen.texture);
      }
      const texture = makeTexture(gl, PREVIEW_UNIT, gl.TEXTURE_2D);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, w, h);
      offscreen = { w, h, texture, framebuffer: gl.createFramebuffer() };
      gl.bindFramebuffer(gl.FRAMEBUFFER, offscreen.framebuffer);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, offscreen.framebuffer);
  };
  const bindCanvas = () => gl.bindFramebuffer(gl.FRAMEBUFFER, null);

  return {
    // The largest ratio for `preview`. The base adds up all that a pixel covers, one pixel after the
    // other: a few pixels that cover a large picture would take seconds.
    coarsest: (view) => Math.max(1, view.zoom * Math.max(config.width, config.height) / 32),
    // Draw the whole view at a lower resolution, enlarged onto the canvas.
    preview(view, w, h, ratio) {
      if (ratio <= 1) { bindCanvas(); draw(view, w, h); return; }
      const sw = Math.ceil(w / ratio), sh = Math.ceil(h / ratio);
      bindOffscreen(sw, sh);
      draw(view, w, h, ratio);
      bindCanvas();
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, offscreen.framebuffer);
      gl.blitFramebuffer(
        0, 0, sw, sh, 0, 0, Math.round(sw * ratio), Math.round(sh * ratio),
        gl.COLOR_BUFFER_BIT, gl.LINEAR);
      bindCanvas();
    },
    // Draw the rows top ... top + count of the view.
    rows(view, w, h, top, count) {
      bindCanvas();
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(0, h - top - count, w, count);
      draw(view, w, h);
      gl.disable(gl.SCISSOR_TEST);
    },
    // Return the RGBA bytes of a view, the top row first.
    read(view, w, h) {
      bindOffscreen(w, h);
      draw(view, w, h);
      const bytes = new Uint8Array(4 * w * h), rows = new Uint8Array(4 * w * h);
      gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
      for (let y = 0; y < h; y++)
        rows.set(bytes.subarray(4 * w * (h - 1 - y), 4 * w * (h - y)), 4 * w * y);
      bindCanvas();
      return rows;
    },
  };
};
