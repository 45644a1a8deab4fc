// Workers that encode tiles, side by side.

const MAX_WORKERS = 4;

// model: the name of its folder. onReady(backend): called when the first worker can work, with "WebGPU" or "WebAssembly".
const makePool = (model, onReady) => {
  const workers = [], idle = [], queue = [];
  const jobs = new Map(); // what waits for an answer, by its number
  let count = 0, failure = null;

  const next = () => {
    while (idle.length && queue.length) {
      const { cut, ...job } = queue.shift();
      const number = count++;
      jobs.set(number, job);
      idle.shift().postMessage({ number, ...cut }, [cut.bytes.buffer]);
    }
  };
  const end = (error) => {
    failure = error;
    for (const { reject } of [...jobs.values(), ...queue]) reject(failure);
    jobs.clear();
    queue.length = 0;
  };
  const fail = (message) => end(new Error(`The model cannot run on this device: ${message}`));

  const add = (allowed) => {
    const worker = new Worker("worker.js", { type: "module", name: `${allowed}/${model}` });
    workers.push(worker);
    worker.onerror = (event) => fail(event.message || "the worker does not start");
    worker.onmessage = ({ data: { backend, error, number, ...result } }) => {
      if (error) return fail(error);
      if (backend) {
        const isFirst = workers.length === 1;
        if (isFirst) onReady(backend);
        // A graphics card serves one worker; processors serve one each, and one stays free.
        const wanted = Math.min((navigator.hardwareConcurrency || 2) - 1, MAX_WORKERS);
        if (isFirst && backend === "WebAssembly") while (workers.length < wanted) add("WebAssembly");
      } else {
        jobs.get(number)?.resolve(result);
        jobs.delete(number);
      }
      idle.push(worker);
      next();
    };
  };
  add("any");

  return {
    get size() { return workers.length; },
    // Resolves to the features of a tile that was cut out of a picture.
    encode: (cut) => new Promise((resolve, reject) => {
      if (failure) return reject(failure);
      queue.push({ cut, resolve, reject });
      next();
    }),
    close() {
      for (const worker of workers) worker.terminate();
      end(new Error("Another model was chosen."));
    },
  };
};
