// What the page and the studio have in common.

const $ = (id) => document.getElementById(id);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

%%scripts/webgl.js%%
%%scripts/renderer.js%%
%%scripts/geometry.js%%
%%scripts/viewer.js%%
%%scripts/labels.js%%
%%scripts/frames.js%%
%%scripts/actions.js%%
%%scripts/keyboard.js%%
%%scripts/pointers.js%%
%%scripts/screen.js%%
