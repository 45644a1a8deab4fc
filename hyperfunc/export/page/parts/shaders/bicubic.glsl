// The base: Keys' cubic interpolation (a = -0.5) with mirrored borders.

vec2 cubic(float x) {  // the kernel and its slope
  float d = abs(x), s = x < 0.0 ? -1.0 : 1.0;
  if (d <= 1.0) return vec2((1.5 * d - 2.5) * d * d + 1.0, s * (4.5 * d - 5.0) * d);
  if (d < 2.0)
    return vec2(((-0.5 * d + 2.5) * d - 4.0) * d + 2.0, s * ((-1.5 * d + 5.0) * d - 4.0));
  return vec2(0.0);
}

int mirrored(int i, int n) {
  int m = i - 2 * n * int(floor(float(i) / float(2 * n)));
  return min(m, 2 * n - 1 - m);
}

vec3 pixelAt(ivec2 at, bool isInput) {
  vec3 pixel = texelFetch(pixels, at, 0).rgb;
#if CORRECTED
  vec4 corrected = texelFetch(corrections, at, 0);
  if (!isInput) pixel = mix(pixel, corrected.rgb, corrected.a);
#endif
  return pixel;
}

Jet base(vec2 p, bool isInput) {  // isInput: of the picture itself, not of the corrected one
  Jet jet = Jet(vec3(0.0), vec3(0.0), vec3(0.0));
#if BASE
  vec2 width = max(footprint, 1.0);
  ivec2 taps = ivec2(ceil(4.0 * width)) + ivec2(greaterThan(width, vec2(1.0)));
  ivec2 first = ivec2(floor(p - 0.5 - 2.0 * width)) + 1;
  vec2 across = vec2(0.0), down = vec2(0.0);  // sums of the kernel and of its slope
  for (int j = 0; j < taps.y; j++) {
    vec2 v = cubic((p.y - 0.5 - float(first.y + j)) / width.y);
    vec3 row = vec3(0.0), slope = vec3(0.0);
    across = vec2(0.0);
    for (int i = 0; i < taps.x; i++) {
      vec2 u = cubic((p.x - 0.5 - float(first.x + i)) / width.x);
      ivec2 at = ivec2(mirrored(first.x + i, int(size.x)), mirrored(first.y + j, int(size.y)));
      vec3 pixel = pixelAt(at, isInput);
      row += u.x * pixel;
      slope += u.y * pixel;
      across += u;
    }
    jet.value += v.x * row;
    jet.x += v.x * slope;
    jet.y += v.y * row;
    down += v;
  }
  jet.value /= across.x * down.x;
  jet.x = (jet.x / (across.x * down.x) - jet.value * across.y / across.x) / width.x;
  jet.y = (jet.y / (across.x * down.x) - jet.value * down.y / down.x) / width.y;
#endif
  return jet;
}
