// Features times kernel: eight coefficients of a cell, as half floats in one texel.
// The page draws this once for each layer, when it opens; the studio for each layer of each tile.
// QUADS: features / 4, rounded up. TILE: whether the features are floats, of a tile.
#if TILE
uniform highp sampler2DArray features;
uniform ivec2 origin;  // of the tile in the texture that is drawn to
#else
uniform highp isampler2DArray features;
uniform highp sampler2D scales;  // of the features of each row
#endif
uniform highp sampler2D kernel;
uniform int layer;
out uvec4 texel;

vec4 read(ivec2 cell, int quad) {
#if TILE
  return texelFetch(features, ivec3(cell - origin, quad), 0);
#else
  return vec4(texelFetch(features, ivec3(cell, quad), 0)) * texelFetch(scales, ivec2(quad, cell.y), 0);
#endif
}

void main() {
  float value[8];
  for (int j = 0; j < 8; j++) value[j] = 0.0;
  for (int q = 0; q < QUADS; q++) {
    vec4 x = read(ivec2(gl_FragCoord.xy), q);
    for (int j = 0; j < 8; j++) value[j] += dot(x, texelFetch(kernel, ivec2(q * 8 + j, layer), 0));
  }
  texel = uvec4(
    packHalf2x16(vec2(value[0], value[1])), packHalf2x16(vec2(value[2], value[3])),
    packHalf2x16(vec2(value[4], value[5])), packHalf2x16(vec2(value[6], value[7])));
}
