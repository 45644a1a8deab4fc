// How long a save still takes. Only what repeats is measured: the first pixels have also waited for the
// model, the file's name and the shaders.

const SHORTEST = 3; // seconds of which an estimate is made

// now(): seconds.
const makeEstimate = (now = () => performance.now() / 1000) => {
  let first = null; // when the first pixels were drawn: { part, rest, time }
  let waited = 0; // seconds since then
  return {
    // The features of a tile were waited for, for so many seconds.
    add(seconds) { if (first) waited += seconds; },
    // The seconds that are left; null as long as they are not known. part: of the pixels that is drawn,
    // 0 to 1. rest: tiles that are not encoded. workers: how many are encoded side by side.
    left(part, rest, workers) {
      first ??= { part, rest, time: now() };
      const elapsed = now() - first.time, encoded = first.rest - rest;
      if (elapsed < SHORTEST || (rest && encoded < workers)) return null;
      const drawing = (elapsed - waited) / (part - first.part) * (1 - part);
      return drawing + (rest ? waited / encoded * rest : 0);
    },
  };
};
