// The ways in which a picture comes in: chosen, dropped, pasted, or a sample.

// open(blob, name, files): show a picture, one of so many files. openSave(): ask for a scale.
const listenToInputs = (open, openSave) => {
  const file = $("file"), isPicture = ({ type }) => type.startsWith("image/");
  const choose = () => file.click();
  $("choose").onclick = $("open").onclick = choose;
  $("save").onclick = openSave;
  file.addEventListener("change", () => {
    if (file.files[0]) open(file.files[0], file.files[0].name);
    file.value = ""; // So that the same file can be chosen again.
  });

  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragged");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragged");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragged");
    const files = [...event.dataTransfer.files];
    const dropped = files.find(isPicture) ?? files[0];
    if (dropped) open(dropped, dropped.name, files.length);
  });
  addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files].find(isPicture);
    if (pasted) open(pasted, "pasted.png");
  });
  for (const button of document.querySelectorAll("#samples button"))
    button.onclick = async () => {
      try {
        const response = await fetch(button.dataset.path);
        open(await response.blob(), button.dataset.name);
      } catch { $("problem").textContent = "The sample cannot be loaded: check the network and try again."; }
    };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || $("help").open) return;
    const key = event.key.toLowerCase();
    if (key === "o") choose();
    else if (key === "s" && $("welcome").hidden) openSave();
    else return;
    event.preventDefault();
  });
};
