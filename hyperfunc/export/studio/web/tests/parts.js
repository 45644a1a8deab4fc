// Evaluates parts, which are scripts of one scope, and returns some of their names.

import { readFileSync } from "node:fs";

export const load = (parts, ...names) => {
  const read = (part) => readFileSync(new URL(`../parts/${part}`, import.meta.url), "utf8");
  return new Function(`${parts.map(read).join("\n")}\nreturn { ${names.join(", ")} };`)();
};
