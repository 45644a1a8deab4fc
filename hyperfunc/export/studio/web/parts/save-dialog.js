// The dialog in which size and format are chosen, and the progress of saving.

const MAX_PIXELS_IN_MEMORY = 400e6; // of a PNG that the browser has to keep
const STREAMED_PIXELS = 50e6; // Larger PNGs are written to the disk as they are computed, if possible.

// save(scale, makeWriter, onProgress, isCancelled): resolves to a file, or null. Returns what opens it.
const makeSaveDialog = (getPicture, save, labels) => {
  const dialog = $("save-dialog"), start = $("save-start");
  const inputs = ["scale", "width", "height"].map($), [scaleInput] = inputs;
  let scale = 2, chosen = scaleInput, isCancelled = false, isBusy = false;

  // What an input says at scale 1.
  const unit = (input) => input === scaleInput ? 1 : getPicture()[input.id];
  const isWebp = () => $("format").value === "webp";
  const findProblem = ([width, height]) => {
    if (!(scale >= 0.1 && scale <= 16)) return "Give a scale from 0.1 to 16.";
    if (isWebp() && Math.max(width, height) > MAX_WEBP_SIDE)
      return `A WebP has at most ${MAX_WEBP_SIDE} pixels on a side: save a PNG.`;
    const most = isWebp() ? MAX_WEBP_PIXELS : canStream() ? Infinity : MAX_PIXELS_IN_MEMORY;
    if (width * height <= most) return "";
    const [what, instead] = isWebp() ? ["WebP", "save a PNG"] : ["PNG in this browser", "choose a smaller scale"];
    return `${width} × ${height} pixels are too many for a ${what}: ${instead}.`;
  };
  const check = () => {
    scale = Number(chosen.value) / unit(chosen);
    const [width, height] = scaledSize(getPicture(), scale), problem = findProblem([width, height]);
    const values = [Number(scale.toPrecision(5)), width, height];
    if (scale > 0)
      inputs.forEach((input, i) => { if (input !== chosen) input.value = values[i]; });
    $("result-size").textContent = problem || `${width} × ${height} pixels`;
    start.disabled = isBusy || problem !== "";
  };
  const setBusy = (busy) => {
    isBusy = busy;
    $("save-progress").hidden = $("save-time").hidden = !busy;
    $("save-progress").value = 0;
    $("save-time").textContent = busy ? tellSaving(0, null) : "";
    for (const input of [...inputs, $("format")]) input.disabled = busy;
    check();
    if (busy) $("save-cancel").focus(); // What had the focus is disabled.
  };
  const cancel = () => {
    isCancelled = true;
    $("save-time").textContent = "Stopping …"; // Seen if the dialog is opened again before the save has ended.
  };

  const download = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  const run = async () => {
    const stem = getPicture().name.replace(/\.[^.]*$/, ""), suffix = isWebp() ? ".webp" : ".png";
    const size = chosen === scaleInput ? `x${scale}` : scaledSize(getPicture(), scale).join("x");
    const name = `${stem}_${size}${suffix}`;
    const makeWriter = async (width, height) => {
      if (isWebp()) return makeWebp(width, height);
      const isStreamed = canStream() && width * height > STREAMED_PIXELS;
      const sink = isStreamed ? await openFileSink(name, "image/png", suffix)
        : makeMemorySink("image/png");
      return sink && makePng(width, height, sink);
    };
    isCancelled = false;
    setBusy(true);
    try {
      const onProgress = (part, seconds) => {
        $("save-progress").value = part;
        $("save-time").textContent = tellSaving(part, seconds);
      };
      const file = await save(scale, makeWriter, onProgress, () => isCancelled);
      if (isCancelled) return; // The dialog is closed, or open for the next file.
      if (file instanceof Blob) download(file, name);
      dialog.close();
      if (file) $("status").textContent = "Saved"; // Behind a dialog nothing is spoken.
    } catch (error) {
      if (isCancelled) return;
      dialog.close();
      labels.warn(error.message);
    } finally { setBusy(false); }
  };

  for (const input of inputs)
    input.addEventListener("input", () => { chosen = input; check(); });
  $("format").addEventListener("change", check);
  $("save-cancel").onclick = () => { cancel(); dialog.close(); };
  dialog.addEventListener("cancel", cancel);
  // The keys of the page are not those of the dialog.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  $("save-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!start.disabled) run();
  });
  return () => {
    if (dialog.open) return;
    check();
    dialog.showModal();
    scaleInput.select(); // It has the focus, and what is typed replaces it.
  };
};
