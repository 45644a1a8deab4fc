// Parts are scripts of one scope: each may use the names of the others. What is undefined in all of
// them shows in the assembled script, which `npm run lint -- FOLDER/studio.js` reads.

import js from "@eslint/js";
import globals from "globals";

const rules = {
  ...js.configs.recommended.rules, eqeqeq: "error", "no-var": "error", "prefer-const": "error",
};

export default [
  { ignores: ["parts/studio.js"] }, // a template
  {
    files: ["**/*.js"],
    languageOptions: { globals: { ...globals.browser, ...globals.node } },
    rules,
  },
  { files: ["worker.js"], languageOptions: { globals: globals.worker } },
  { files: ["sw.js"], languageOptions: { globals: { ...globals.serviceworker, FILES: "readonly", NAME: "readonly" } } },
  {
    files: ["parts/**/*.js"],
    languageOptions: { sourceType: "script" },
    rules: { "no-undef": "off", "no-unused-vars": "off", "no-redeclare": "off" },
  },
  { files: ["**/studio.js"], languageOptions: { sourceType: "script" }, rules },
];
