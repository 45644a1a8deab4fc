// Keeps the studio for use without a network: FILES at once, and what else was loaded, such as other
// models. In front of this, studio.py defines FILES, and NAME, which changes with all files.

addEventListener("install", (event) => {
  // The browser's own cache may still have files of an earlier version: it has to ask.
  const requests = FILES.map((name) => new Request(name, { cache: "no-cache" }));
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(requests)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith("hyperfunc-") && name !== NAME;
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name))))
    .then(() => clients.claim()));
});

const load = async (request) => {
  const kept = await caches.match(request, { cacheName: NAME });
  if (kept) return kept;
  const response = await fetch(request);
  if (response.status === 200 && new URL(request.url).origin === location.origin)
    await (await caches.open(NAME)).put(request, response.clone());
  return response;
};

addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(load(event.request));
});
