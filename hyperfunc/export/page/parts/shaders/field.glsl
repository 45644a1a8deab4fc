// The field: the target networks, blended with the weights of their windows.

#define WAVE(H, RE, IM) { \
    vec4 w = waves[H]; \
    float phase = dot(w.xy, d), decay = exp(-dot(w.zw, footprint * footprint)); \
    float c = cos(phase) * decay, s = sin(phase) * decay; \
    vec3 re = RE, im = IM; \
    jet.value += re * c - im * s; \
    if (GRADIENT == 1) { vec3 t = re * s + im * c; jet.x -= w.x * t; jet.y -= w.y * t; } \
  }

Jet network(ivec2 cell, vec2 d) {  // one target network, at d from the centre of its window
  Jet jet = Jet(vec3(0.0), vec3(0.0), vec3(0.0));
  for (int g = 0; g < WAVES / 4; g++) {
    // The waves are sorted by frequency: the footprint has damped all that follow.
    if (dot(waves[4 * g].zw, footprint * footprint) > 12.0) break;
    uvec4 a = texelFetch(coefficients, ivec3(cell, 3 * g), 0);
    uvec4 b = texelFetch(coefficients, ivec3(cell, 3 * g + 1), 0);
    uvec4 e = texelFetch(coefficients, ivec3(cell, 3 * g + 2), 0);
    vec2 a1 = unpackHalf2x16(a.y), b0 = unpackHalf2x16(b.x);
    vec2 b3 = unpackHalf2x16(b.w), e2 = unpackHalf2x16(e.z);
    WAVE(4 * g, vec3(unpackHalf2x16(a.x), a1.x), vec3(a1.y, unpackHalf2x16(a.z)))
    WAVE(4 * g + 1, vec3(unpackHalf2x16(a.w), b0.x), vec3(b0.y, unpackHalf2x16(b.y)))
    WAVE(4 * g + 2, vec3(unpackHalf2x16(b.z), b3.x), vec3(b3.y, unpackHalf2x16(e.x)))
    WAVE(4 * g + 3, vec3(unpackHalf2x16(e.y), e2.x), vec3(e2.y, unpackHalf2x16(e.w)))
  }
  uvec4 constant = texelFetch(coefficients, ivec3(cell, LAYERS - 1), 0);
  jet.value += vec3(unpackHalf2x16(constant.x), unpackHalf2x16(constant.y).x);
  return jet;
}

void blend(inout Jet sum, Jet jet, float weight, vec2 slope) {
  sum.value += weight * jet.value;
  sum.x += weight * jet.x + slope.x * jet.value;
  sum.y += weight * jet.y + slope.y * jet.value;
}

Jet field(vec2 p) {  // four windows with tent weights
  vec2 at = clamp(p - 0.5, vec2(0.0), size - 1.0);
  vec2 inside = vec2(equal(at, p - 0.5));  // Beyond the outer centres the weights are constant.
  ivec2 i = ivec2(at), j = min(i + 1, ivec2(size) - 1);
  vec2 t = at - vec2(i), d = p - 0.5 - vec2(i);
  Jet sum = Jet(vec3(0.0), vec3(0.0), vec3(0.0));
#if TILE  // Around each tile lies one more cell, so that the four are in one place.
  ivec2 tile = min(ivec2(p), ivec2(size) - 1) / TILE;
  ivec2 place = ivec2(texelFetch(places, tile, 0).xy);
  if (place.x == 0) return sum;
  i += place - tile * TILE;
  j += place - tile * TILE;
#endif
  Jet jet = network(i, d);
  blend(sum, jet, (1.0 - t.x) * (1.0 - t.y), inside * -(1.0 - t.yx));
  jet = network(ivec2(j.x, i.y), d - vec2(1, 0));
  blend(sum, jet, t.x * (1.0 - t.y), inside * vec2(1.0 - t.y, -t.x));
  jet = network(ivec2(i.x, j.y), d - vec2(0, 1));
  blend(sum, jet, (1.0 - t.x) * t.y, inside * vec2(-t.y, 1.0 - t.x));
  jet = network(j, d - vec2(1, 1));
  blend(sum, jet, t.x * t.y, inside * t.yx);
  return sum;
}
