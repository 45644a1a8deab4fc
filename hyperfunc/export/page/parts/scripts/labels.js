// What the page says about the view: zoom, size, angle, pressed buttons, and the comparison line.

const STATUS_DELAY = 700; // ms without a change, after which a screen reader is told the view

const LONGEST_TITLE = 72; // characters: three lines on a phone

// Leave out the middle of a long title: a file's name often differs from others at its end.
const shorten = (title) => {
  const characters = [...title], half = LONGEST_TITLE / 2;
  if (characters.length <= LONGEST_TITLE) return title;
  return `${characters.slice(0, half).join("")}…${characters.slice(1 - half).join("")}`;
};

const makeLabels = (config) => {
  const format = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
  const group = (n) => Math.round(n).toLocaleString("en-US").replaceAll(",", "\u202f");
  let statusTimer = 0, left = "bicubic"; // what is left of the line

  // The whole of a title that is shortened is there for the pointer and for screen readers.
  const entitle = (title) => {
    const heading = $("legend").querySelector("h1"), short = shorten(title);
    heading.textContent = short;
    // Lines of such words are balanced, too, so that no letter is alone in its line.
    heading.classList.toggle("unbroken", /\S{24}/.test(short));
    for (const name of ["title", "aria-label"])
      if (short === title) heading.removeAttribute(name);
      else heading.setAttribute(name, title);
  };
  entitle($("legend").querySelector("h1").textContent);
  $("compare").hidden = $("corrects").hidden = !config.base;
  $("count").textContent = config.frequencies;
  $("cells").textContent = `${group(config.width * config.height)} target networks`;

  return {
    entitle,

    // Describe a view in words and numbers.
    describe(view) {
      const degrees = Math.round(view.rotation * 180 / Math.PI), angle = $("angle");
      const width = group(config.width * view.zoom), height = group(config.height * view.zoom);
      $("zoom").textContent = `×${format(view.zoom)}`;
      $("size").textContent = `${width} × ${height} pixels`;
      // The slider keeps what its user just set it to.
      if (document.activeElement !== angle || Number(angle.value) !== degrees)
        angle.value = degrees;
      $("degrees").textContent = `${degrees}°`;
      $("compare").setAttribute("aria-pressed", view.compare);
      $("gradient").setAttribute("aria-pressed", view.gradient);
      clearTimeout(statusTimer);
      statusTimer = setTimeout(() => {
        $("status").textContent = `Zoom ${format(view.zoom)}, rotation ${degrees} degrees` +
          (view.gradient ? ", gradient magnitude" : "") +
          (view.compare ? `, beside ${left}` : "");
      }, STATUS_DELAY);
    },

    // Name what is on both sides of the comparison line. Its labels leave out the article.
    nameSides(newLeft, right) {
      left = newLeft;
      $("split").querySelector(".left").textContent = left.replace("the ", "");
      $("split").querySelector(".right").textContent = right.replace("the ", "");
      const line = `Comparison line: ${left} on its left, ${right} on its right`;
      $("split").setAttribute("aria-label", line);
      $("compare").setAttribute("aria-label", `Compare with ${left}`);
      $("compare").title = `Compare with ${left} (C)`;
    },

    // Put the comparison line where it is in a view.
    placeLine(view) {
      $("split").hidden = !view.compare;
      $("split").style.left = `${100 * view.split}%`;
      $("split").setAttribute("aria-valuenow", Math.round(100 * view.split));
    },

    // Show the picture itself, in the element "plain", and say why.
    sayBesidePicture(text) {
      for (const id of ["stage", "tools", "legend"]) $(id).hidden = true;
      $("plain").hidden = false;
      this.say(text, true);
      $("message").classList.add("low");
    },

    // Show a message instead of the image, or over it; "" hides it.
    say(text, isOverlay = false) {
      $("message").hidden = !text;
      $("message").classList.toggle("overlay", isOverlay);
      $("message").firstElementChild.textContent = text;
    },
  };
};
