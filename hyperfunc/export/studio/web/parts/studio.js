"use strict";
(() => {
%%scripts/shared.js%%
%%tiling.js%%
%%store.js%%
%%pool.js%%
%%sharpener.js%%
%%picture.js%%
%%png.js%%
%%saving.js%%
%%save-dialog.js%%
%%inputs.js%%
%%start.js%%
})();
