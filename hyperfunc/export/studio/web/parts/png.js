// Write a PNG of 8 bits per channel row by row, so that a large one needs little memory.

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

const makeChunk = (kind, data) => {
  const chunk = new Uint8Array(12 + data.length), view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) chunk[4 + i] = kind.charCodeAt(i);
  chunk.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < 8 + data.length; i++) crc = CRC[(crc ^ chunk[i]) & 255] ^ (crc >>> 8);
  view.setUint32(8 + data.length, ~crc >>> 0);
  return chunk;
};

// sink: takes the file's bytes in order, see sinks.js.
const makePng = async (width, height, sink) => {
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  for (const part of [signature, makeChunk("IHDR", header), makeChunk("sRGB", new Uint8Array([0]))])
    await sink.write(part);
  const { readable, writable } = new CompressionStream("deflate");
  const writer = writable.getWriter(), reader = readable.getReader();
  const move = async () => {
    for (let item; !(item = await reader.read()).done;)
      await sink.write(makeChunk("IDAT", item.value));
  };
  // Where the file cannot be written, the next rows cannot, either.
  const moved = move().catch(async (error) => { await reader.cancel(error); throw error; });
  moved.catch(() => {}); // `finish` throws it.

  return {
    // Append rows: RGB bytes. They are stored as differences from the pixel on the left.
    write(rgb) {
      const rows = rgb.length / (3 * width), line = 3 * width + 1;
      const bytes = new Uint8Array(rows * line);
      for (let y = 0; y < rows; y++) {
        bytes[y * line] = 1;
        for (let i = 0; i < 3 * width; i++) {
          const at = 3 * width * y + i;
          bytes[y * line + 1 + i] = rgb[at] - (i < 3 ? 0 : rgb[at - 3]);
        }
      }
      return writer.write(bytes);
    },
    async finish() {
      await Promise.all([writer.close(), moved]);
      await sink.write(makeChunk("IEND", new Uint8Array()));
      return sink.close();
    },
    // Leave no file. Errors do not matter any more.
    abort: () => Promise.allSettled([reader.cancel(), sink.abort()]),
  };
};
