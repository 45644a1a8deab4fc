// The inputs of the shader that draws a view. It computes, at a position p in input pixels,
//   f(p) = base(p) + share * sum over the four windows that cover p of weight * T(d),
//   T(d) = Re sum over h of c_h exp(i w_h . d) exp(-kappa (w_hx^2 footprint_x^2 + w_hy^2 footprint_y^2)),
// where d is p relative to the centre of the window.
//
// Defined by renderer.js: GRADIENT, BASE, CORRECTED and GREY (0 or 1), WAVES (a multiple of four),
// LAYERS, GAIN, TILE, and what limit.glsl reads.
uniform highp usampler2DArray coefficients;
#if TILE  // The coefficients come in tiles of so many cells, each in its place of the texture.
uniform highp usampler2D places;  // of the first cell of a tile; 0 where there is none
#endif
uniform highp sampler2D pixels;
#if CORRECTED
uniform highp sampler2D corrections;  // corrected pixels; their alpha is 0 where there are none yet
#endif
uniform vec4 waves[WAVES];  // (x, y) in radians per input pixel, kappa (x^2, y^2)
uniform vec2 size;          // of the image, input pixels
uniform vec2 centre;        // position in the middle of the view, input pixels
uniform mat2 turn;          // from screen pixels to input pixels
uniform vec2 view;          // size of the view, screen pixels
uniform float ratio;        // screen pixels per pixel that is drawn
uniform vec2 footprint;     // input pixels per pixel that is drawn, (x, y)
uniform float split;        // screen pixels: to the left is the base alone
uniform vec3 ground;        // colour outside of the image
#if RADIUS
uniform bool isLimited;     // whether limit.glsl bounds the values
#endif
out vec4 colour;

// A colour and its derivatives along x and y, per input pixel.
struct Jet { vec3 value, x, y; };
