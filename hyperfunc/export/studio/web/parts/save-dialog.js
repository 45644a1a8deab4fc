// The dialog in which a scale is chosen, and the progress of saving.

// save(scale, onProgress, isCancelled): resolves to a file, or null.
const makeSaveDialog = (getPicture, save, labels) => {
  const dialog = $("save-dialog"), input = $("scale"), start = $("save-start");
  let isCancelled = false, isBusy = false;

  const check = () => {
    const scale = Number(input.value), [width, height] = scaledSize(getPicture(), scale);
    const isValid = scale > 0 && input.checkValidity(), isLarge = width * height > MAX_SAVED_PIXELS;
    $("result-size").textContent = !isValid ? "Give a number from 0.1 to 16."
      : `${width} × ${height} pixels${isLarge ? ": too many to save here" : ""}`;
    start.disabled = isBusy || !isValid || isLarge;
  };
  const setBusy = (busy) => {
    isBusy = busy;
    $("save-progress").hidden = !busy;
    $("save-progress").value = 0;
    input.disabled = busy;
    check();
  };
  const close = () => { isCancelled = true; dialog.close(); };

  const download = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  const run = async () => {
    const scale = Number(input.value), { name } = getPicture();
    isCancelled = false;
    setBusy(true);
    try {
      const blob = await save(scale, (part) => { $("save-progress").value = part; }, () => isCancelled);
      if (blob) {
        download(blob, `${name.replace(/\.[^.]*$/, "")}_x${scale}.png`);
        $("status").textContent = "Saved";
      }
      dialog.close();
    } catch (error) { dialog.close(); labels.note(error.message); }
    finally { setBusy(false); }
  };

  input.addEventListener("input", check);
  $("save-cancel").onclick = close;
  dialog.addEventListener("cancel", () => { isCancelled = true; });
  // The keys of the page are not those of the dialog.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  $("save-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!start.disabled) run();
  });
  return () => { if (!dialog.open) { check(); dialog.showModal(); } };
};
