// Encodes the tiles that are on the screen, those in its middle first, and keeps what it can.

const LARGEST_FOOTPRINT = 1.37; // Where pixels are larger, the field has faded: see view.glsl.
const KEPT = 64; // tiles whose features are kept in memory, of 3 MB each

// encode(index, extra): resolves to the features of a tile; extra: see tiling.js.
// correctsAll: whether tiles are encoded at any zoom, because the model corrects pixels.
// onProgress({ done, wanted, isPart, seconds, isChanged }): of the tiles on the screen. isPart: there
// are more of them than the store has room for. The seconds are estimated.
const makeSharpener = (
  { tiling, store, pool, encode, getView, correctsAll }, onProgress, onError) => {
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

  const update = () => {
    const { view, width, height } = getView();
    const visible = tiling.visible(view, width, height), most = store.capacity - 1;
    const isSharp = view.zoom * LARGEST_FOOTPRINT >= 1 || (correctsAll && visible.length <= most);
    const wanted = isSharp ? visible.slice(0, most) : [];
    for (const index of [...wanted].reverse()) if (store.has(index)) store.touch(index);
    let isChanged = false;
    for (const index of wanted) {
      if (store.has(index) || pending.has(index)) continue;
      if (kept.has(index)) { store.put(index, kept.get(index)); isChanged = true; }
      else if (pending.size < pool.size) request(index);
    }
    const done = wanted.filter(store.has).length;
    const seconds = encoded ? spent / encoded * (wanted.length - done) / pool.size : null;
    const isPart = wanted.length < visible.length;
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
    close() { isClosed = true; clearTimeout(timer); },
  };
};
