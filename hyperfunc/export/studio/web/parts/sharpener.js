// Encodes the tiles that are on the screen, those in its middle first, and keeps what it can.

const LARGEST_FOOTPRINT = 1.37; // Where pixels are larger, the field has faded: see view.glsl.
const KEPT = 64; // tiles whose features are kept in memory, of 3 MB each

// encode(index): resolves to the features of a tile.
// onProgress({ done, wanted, seconds }): of the tiles on the screen; the seconds are estimated.
const makeSharpener = (tiling, store, pool, encode, getView, onProgress, onError) => {
  const kept = new Map(), pending = new Set();
  let spent = 0, encoded = 0; // seconds of all workers, tiles
  let timer = 0, isClosed = false;

  const keep = (index, features) => {
    kept.set(index, features);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  };
  const request = async (index) => {
    pending.add(index);
    const start = performance.now();
    try { keep(index, await encode(index)); }
    catch (error) { if (!isClosed) onError(error); isClosed = true; }
    pending.delete(index);
    spent += (performance.now() - start) / 1000;
    encoded++;
    if (!isClosed) update();
  };

  const update = () => {
    const { view, width, height } = getView();
    const isSharp = view.zoom * LARGEST_FOOTPRINT >= 1;
    const wanted = isSharp ? tiling.visible(view, width, height).slice(0, store.capacity - 1) : [];
    for (const index of [...wanted].reverse()) if (store.has(index)) store.touch(index);
    let isChanged = false;
    for (const index of wanted) {
      if (store.has(index) || pending.has(index)) continue;
      if (kept.has(index)) { store.put(index, kept.get(index)); isChanged = true; }
      else if (pending.size < pool.size) request(index);
    }
    const done = wanted.filter(store.has).length;
    const seconds = encoded ? spent / encoded * (wanted.length - done) / pool.size : null;
    onProgress({ done, wanted: wanted.length, seconds, isChanged });
  };

  return {
    // The view has changed.
    update() {
      clearTimeout(timer);
      timer = setTimeout(() => { if (!isClosed) update(); }, 30);
    },
    // The features of a tile, also for saving.
    features: (index) => kept.has(index) ? Promise.resolve(kept.get(index)) : encode(index),
    close() { isClosed = true; clearTimeout(timer); },
  };
};
