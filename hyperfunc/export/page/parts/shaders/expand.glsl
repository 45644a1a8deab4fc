// Features times kernel: eight coefficients of a cell, as half floats in one texel.
// The page draws this once for each layer, when it opens. QUADS: features / 4, rounded up.
uniform highp isampler2DArray features;
uniform highp sampler2D scales;  // of the features of each row
uniform highp sampler2D kernel;
uniform int layer;
out uvec4 texel;

void main() {
  float value[8];
  for (int j = 0; j < 8; j++) value[j] = 0.0;
  for (int q = 0; q < QUADS; q++) {
    ivec2 cell = ivec2(gl_FragCoord.xy);
    vec4 levels = vec4(texelFetch(features, ivec3(cell, q), 0));
    vec4 x = levels * texelFetch(scales, ivec2(q, cell.y), 0);
    for (int j = 0; j < 8; j++) value[j] += dot(x, texelFetch(kernel, ivec2(q * 8 + j, layer), 0));
  }
  texel = uvec4(
    packHalf2x16(vec2(value[0], value[1])), packHalf2x16(vec2(value[2], value[3])),
    packHalf2x16(vec2(value[4], value[5])), packHalf2x16(vec2(value[6], value[7])));
}
