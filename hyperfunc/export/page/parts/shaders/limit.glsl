// What a saved picture has beyond the function: `hyperfunc upscale` does the same.
// RADIUS, SHARE, FLAT, AT_EDGES and ROUNDING are those of hyperfunc/pixels/overshoot.py; 0: no bound.

#if RADIUS
vec3 limit(vec3 value, vec2 p) {  // Keep a value near the range of the pixels around p.
  ivec2 last = ivec2(size) - 1, cell = min(ivec2(p), last);
  vec3 low = vec3(1.0), high = vec3(0.0);
  for (int dy = -RADIUS; dy <= RADIUS; dy++)
    for (int dx = -RADIUS; dx <= RADIUS; dx++) {
      vec3 pixel = texelFetch(pixels, clamp(cell + ivec2(dx, dy), ivec2(0), last), 0).rgb;
      low = min(low, pixel);
      high = max(high, pixel);
    }
  vec3 spread = high - low;
  vec3 margin = float(SHARE) * spread + float(AT_EDGES) * max(spread - FLAT, 0.0) + ROUNDING;
  return clamp(value, low - margin, high + margin);
}
#endif
