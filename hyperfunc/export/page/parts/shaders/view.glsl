void main() {
  vec2 screen = gl_FragCoord.xy * ratio;
  screen.y = view.y - screen.y;
  vec2 p = centre + turn * (screen - 0.5 * view);
  if (any(lessThan(p, vec2(0.0))) || any(greaterThan(p, size))) {
    colour = vec4(ground, 1.0);
    return;
  }
  bool isBesideLine = screen.x < split;
  Jet jet = base(p, isBesideLine);
  // The field fades where the pixels of the screen are larger than 0.8 input pixels.
  vec2 beyond = BASE == 1 ? max(footprint - 0.8, 0.0) : vec2(0.0);
  float share = exp(-8.0 * dot(beyond, beyond));
  if (!isBesideLine && share > 1e-4) blend(jet, field(p), share, vec2(0.0));
#if GREY  // The model would tint grey pictures.
  const vec3 third = vec3(1.0 / 3.0);
  jet = Jet(vec3(dot(jet.value, third)), vec3(dot(jet.x, third)), vec3(dot(jet.y, third)));
#endif
#if RADIUS
  if (isLimited) jet.value = limit(jet.value, p);
#endif
#if GRADIENT
  float magnitude = sqrt((dot(jet.x, jet.x) + dot(jet.y, jet.y)) / 3.0);
  colour = vec4(vec3(1.0 - exp(-GAIN * magnitude)), 1.0);
#else
  colour = vec4(clamp(jet.value, 0.0, 1.0), 1.0);
#endif
}
