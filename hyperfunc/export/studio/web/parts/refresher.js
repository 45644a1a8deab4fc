// Drawing again and again while tiles arrive, without keeping the graphics card busy all the time.

// draw(): resolves when all is drawn. Returns a function that draws now or, after an earlier drawing,
// as soon as that is done and as much time as it took has passed.
const makeRefresher = (draw) => {
  let isBusy = false, isAsked = false;
  return async () => {
    isAsked = true;
    if (isBusy) return;
    isBusy = true;
    while (isAsked) {
      isAsked = false;
      const began = performance.now();
      await draw();
      const took = performance.now() - began;
      await new Promise((done) => setTimeout(done, took));
    }
    isBusy = false;
  };
};
