// The arrays in the page: base64 of deflated bytes.

const decodeBase64 = (text) => {
  const parts = [], length = 1 << 20; // at a time; a multiple of four characters
  for (let i = 0; i < text.length; i += length) {
    const binary = atob(text.slice(i, i + length));
    const bytes = new Uint8Array(binary.length);
    for (let j = 0; j < binary.length; j++) bytes[j] = binary.charCodeAt(j);
    parts.push(bytes);
  }
  return new Blob(parts);
};

const inflate = (blob) =>
  new Response(blob.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
