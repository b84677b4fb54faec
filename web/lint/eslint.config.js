// Finds built-ins, APIs and their methods that are newer than the browsers of `../browsers.json`. All else is Biome's part.
// A package of its own, because finding methods takes types, and the parser's TypeScript is older than the pages'.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as parser from "@typescript-eslint/parser";
import baselineJs from "eslint-plugin-baseline-js";
import compat from "eslint-plugin-compat";

const { baseline, oldest } = JSON.parse(readFileSync(new URL("../browsers.json", import.meta.url), "utf8"));
const web = fileURLToPath(new URL("..", import.meta.url));

/** As Browserslist names them. */
const browsers = Object.entries(oldest).map(([name, version]) => `${name === "ios" ? "ios_saf" : name} >= ${version}`);

/** Each is asked for before it is used. */
const ASKED_FOR_FIRST = [
  "async-clipboard",
  "execcommand",
  "screen-capture",
  "share",
  "transferable-arraybuffer",
  // `srcObject` is counted to it, which all browsers have for streams.
  "media-source",
];

export default [
  {
    files: ["client/src/**/*.ts", "app/src/**/*.{ts,tsx}"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: {
      parser,
      parserOptions: { project: ["client/tsconfig.json", "app/tsconfig.json"], tsconfigRootDir: web },
    },
    plugins: { "baseline-js": baselineJs, compat },
    settings: { browsers, lintAllEsApis: true },
    rules: {
      "baseline-js/use-baseline": [
        "error",
        {
          available: baseline,
          includeWebApis: { preset: "type-aware" },
          includeJsBuiltins: { preset: "type-aware" },
          ignoreFeatures: ASKED_FOR_FIRST,
        },
      ],
      "compat/compat": "error",
    },
  },
];
