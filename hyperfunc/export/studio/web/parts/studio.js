"use strict";
(() => {
%%scripts/shared.js%%
%%tiling.js%%
%%store.js%%
%%pool.js%%
%%sharpener.js%%
%%progress.js%%
%%estimate.js%%
%%refresher.js%%
%%picture.js%%
%%sinks.js%%
%%png.js%%
%%webp.js%%
%%saving.js%%
%%save-dialog.js%%
%%inputs.js%%
%%start.js%%
})();
