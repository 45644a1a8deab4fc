// How long a save still takes. Only what repeats is measured: the first tile has also waited for the
// model, the file's name and the shaders.

const SHORTEST = 3; // seconds of which an estimate is made

// now(): seconds.
const makeEstimate = (now = () => performance.now() / 1000) => {
  let first = null; // when the first tile was drawn: { part, time }
  let waited = 0, encoded = 0; // since then, seconds and tiles
  return {
    // The features of a tile were waited for, for so many seconds.
    add(seconds) { if (first) { waited += seconds; encoded++; } },
    // The seconds that are left; null as long as they are not known. part: of the pixels that is drawn,
    // 0 to 1. rest: tiles that are not encoded. workers: how many are encoded side by side.
    left(part, rest, workers) {
      first ??= { part, time: now() };
      const elapsed = now() - first.time;
      if (elapsed < SHORTEST || (rest && encoded < workers)) return null;
      const drawing = (elapsed - waited) / (part - first.part) * (1 - part);
      return drawing + (rest ? waited / encoded * rest : 0);
    },
  };
};
