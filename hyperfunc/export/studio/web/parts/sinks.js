// Where the bytes of a file go: into the browser's memory, or onto the disk at once.

const FLUSHED = 8e6; // bytes, after which they are left to the browser, which may use the disk

// A file that is handed to the user when it is whole; `close` resolves to it.
const makeMemorySink = (type) => {
  let blob = new Blob([], { type }), parts = [], size = 0;
  const flush = () => { blob = new Blob([blob, ...parts], { type }); parts = []; size = 0; };
  return {
    async write(bytes) {
      parts.push(bytes);
      size += bytes.length;
      if (size > FLUSHED) flush();
    },
    async close() { flush(); return blob; },
    async abort() { parts = []; blob = null; },
  };
};

const canStream = () => "showSaveFilePicker" in window;

// A file that the user chooses, and that is written as it is computed; null if none is chosen.
const openFileSink = async (suggestedName, type, suffix) => {
  let handle;
  try {
    handle = await window.showSaveFilePicker(
      { suggestedName, types: [{ accept: { [type]: [suffix] } }] });
  } catch (error) {
    if (error.name === "AbortError") return null;
    throw error;
  }
  const stream = await handle.createWritable();
  return {
    write: (bytes) => stream.write(bytes),
    async close() { await stream.close(); return handle; },
    async abort() { await stream.abort(); await handle.remove?.(); },
  };
};
