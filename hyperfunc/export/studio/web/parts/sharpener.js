// Encodes the tiles that are on the screen, those in its middle first, and keeps what it can.

const LARGEST_FOOTPRINT = 1.37; // Where pixels are larger, the field has faded: see view.glsl.
const KEPT = 64; // tiles whose features are kept in memory, of 3 MB each

// encode(index, extra): resolves to the features of a tile; extra: see tiling.js.
// corrects: whether the model corrects pixels, for which all tiles have room in the store.
// onProgress({ done, wanted, isPart, seconds, isChanged }): of the tiles on the screen. isPart: the
// store has no room for the functions of all. The seconds are estimated.
const makeSharpener = (
  { tiling, store, pool, encode, getView, corrects }, onProgress, onError) => {
  const kept = new Map(), pending = new Map(); // from tiles to features, or to promises of them
  let spent = 0, encoded = 0; // seconds of all workers, tiles
  let timer = 0, isClosed = false;

  const keep = (index, features) => {
    kept.set(index, features);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  };
  const request = async (index) => {
    const start = performance.now(), features = encode(index);
    pending.set(index, features);
    try { keep(index, await features); }
    catch (error) { if (!isClosed) onError(error); isClosed = true; }
    pending.delete(index);
    spent += (performance.now() - start) / 1000;
    encoded++;
    if (!isClosed) update();
  };

  // The tiles to encode, and how each is used: by `put` or, for its pixels alone, by `correct`.
  const choose = () => {
    const { view, width, height } = getView();
    const { tiles, shown } = tiling.visible(view, width, height);
    const most = view.zoom * LARGEST_FOOTPRINT >= 1 ? store.capacity - 1 : 0;
    return { wanted: corrects ? tiles : tiles.slice(0, most), most, isPart: most > 0 && shown > most };
  };

  const update = () => {
    const { wanted, most, isPart } = choose();
    const isReady = (index, i) => i < most ? store.has(index) : store.corrects(index);
    for (const index of wanted.slice(0, most).reverse()) if (store.has(index)) store.touch(index);
    let isChanged = false;
    wanted.forEach((index, i) => {
      if (isReady(index, i) || pending.has(index)) return;
      if (kept.has(index)) {
        store[i < most ? "put" : "correct"](index, kept.get(index));
        isChanged = true;
      } else if (pending.size < pool.size) request(index);
    });
    const done = wanted.filter(isReady).length;
    const seconds = encoded ? spent / encoded * (wanted.length - done) / pool.size : null;
    onProgress({ done, wanted: wanted.length, isPart, seconds, isChanged });
  };

  return {
    // The view has changed.
    update() {
      clearTimeout(timer);
      timer = setTimeout(() => { if (!isClosed) update(); }, 30);
    },
    // The features of a tile, also for saving.
    features: async (index, extra = 0) =>
      (extra ? null : kept.get(index) ?? pending.get(index)) ?? encode(index, extra),
    isAtHand: (index, extra) => !extra && kept.has(index),
    close() { isClosed = true; clearTimeout(timer); },
  };
};
