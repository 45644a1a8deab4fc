// The state of the page: the view that is shown, and the view that it glides to.

const GLIDE = 170; // ms

// onChange: called after each change of the view, or of where it glides to.
const makeViewer = (geometry, config, onChange) => {
  const view = {
    x: config.width / 2, y: config.height / 2, zoom: 1, rotation: 0,
    compare: config.base, split: 0.5, gradient: false,
  };
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  let isFitted = true; // The whole image is shown, and stays so when the window changes its size.
  let glide = null; // { goal, from, start } during an animation
  let line = 0.5; // where the line is in the opening view of this window

  return {
    view,
    get goal() { return glide?.goal ?? view; },
    get isGliding() { return glide !== null; },
    get isFitted() { return isFitted; },

    // Change the view at once. keepsFit: the change does not move the image.
    change(edit, keepsFit = false) {
      isFitted &&= keepsFit && !glide;
      glide = null;
      edit(view);
      geometry.constrain(view);
      onChange();
    },

    // Change the view with a short animation. fits: the new view shows the whole image.
    glideTo(edit, fits = false) {
      const goal = { ...(glide?.goal ?? view) };
      edit(goal);
      geometry.constrain(goal);
      isFitted = fits;
      if (reducedMotion.matches) { Object.assign(view, goal); glide = null; }
      else glide = { goal, from: { ...view }, start: performance.now() };
      onChange();
    },

    // Move the view along the animation, to where it is at a time (of requestAnimationFrame).
    step(time) {
      const { from, goal, start } = glide;
      const part = clamp((time - start) / GLIDE, 0, 1), eased = 1 - (1 - part) ** 3;
      view.zoom = from.zoom * (goal.zoom / from.zoom) ** eased;
      // Zooming about a point keeps that point in its place all the way.
      const share = Math.abs(goal.zoom / from.zoom - 1) < 1e-6 ? eased
        : (1 / from.zoom - 1 / view.zoom) / (1 / from.zoom - 1 / goal.zoom);
      view.x = from.x + (goal.x - from.x) * share;
      view.y = from.y + (goal.y - from.y) * share;
      const turn = goal.rotation - from.rotation;
      const shortest = turn - 2 * Math.PI * Math.round(turn / (2 * Math.PI));
      view.rotation = from.rotation + shortest * eased;
      view.split = from.split + (goal.split - from.split) * eased;
      if (part === 1) { Object.assign(view, goal); glide = null; }
    },

    // Adapt the view to a new size of the canvas. In the whole image, the line keeps its place.
    refit() {
      const { split } = geometry.opening();
      if (isFitted) {
        Object.assign(view, geometry.fit());
        view.split += split - line;
        glide = null;
      }
      line = split;
      geometry.constrain(view);
      onChange();
    },

    // Show the view with which the page opens.
    open() {
      Object.assign(view, geometry.opening());
      line = view.split;
      onChange();
    },
  };
};
