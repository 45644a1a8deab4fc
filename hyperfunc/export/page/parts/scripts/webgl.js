// WebGL: the context, programs and textures.

// The units of the textures.
const COEFFICIENTS_UNIT = 0, FEATURES_UNIT = 1, KERNEL_UNIT = 2, BASE_UNIT = 3;
const PREVIEW_UNIT = 4, PLACES_UNIT = 5, CORRECTIONS_UNIT = 6;

const openWebGL = (canvas) => {
  const gl = canvas.getContext("webgl2", {
    alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true,
    powerPreference: "high-performance",
  });
  if (!gl)
    throw new Error(
      "This page draws on the graphics card and needs WebGL 2, which this browser does not offer. " +
      "Enable hardware acceleration, or open the page in a current Chrome, Edge, Firefox or Safari.");
  return gl;
};

const compile = (gl, kind, source) => {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
    throw new Error("A shader does not compile: " + gl.getShaderInfoLog(shader));
  return shader;
};

// Link the vertex shader with a fragment shader of the page, by its id.
// defines: names and values for the preprocessor.
// Returns the program, and at(name): the location of a uniform.
const link = (gl, id, defines) => {
  const head = "#version 300 es\nprecision highp float;\nprecision highp int;\n";
  const lines = Object.entries(defines).map(([name, value]) => `#define ${name} ${value}\n`);
  const program = gl.createProgram();
  const vertex = head + $("triangle-shader").textContent;
  const fragment = head + lines.join("") + $(id).textContent;
  gl.attachShader(program, compile(gl, gl.VERTEX_SHADER, vertex));
  gl.attachShader(program, compile(gl, gl.FRAGMENT_SHADER, fragment));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error("The shaders do not link: " + gl.getProgramInfoLog(program));
  const locations = {};
  const at = (name) => locations[name] ??= gl.getUniformLocation(program, name);
  return { program, at };
};

// Create a texture without filtering, and bind it to a texture unit.
const makeTexture = (gl, unit, kind) => {
  const texture = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(kind, texture);
  gl.texParameteri(kind, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(kind, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texParameteri(kind, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(kind, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return texture;
};
