// Makes copies of the pages for addresses that are deeper than the files: at `/r/name` and `/r/name/`, the files that a
// page loads from `./` are at `../` and `../../`. The server, which knows the depth but not the path that a proxy may
// put before it, serves `index.1.html` and `index.2.html` there.

import type { Plugin } from "vite";

const DEPTHS: Record<string, number[]> = { "index.html": [1, 2], "check.html": [1] };
const HERE = /\b(src|href)="\.\//g;

export function deeperPages(): Plugin {
  return {
    name: "deeper-pages",
    apply: "build",
    generateBundle: {
      // Vite's own step adds the pages before.
      order: "post",
      handler(_, bundle) {
        for (const [name, depths] of Object.entries(DEPTHS)) {
          const page = bundle[name];
          if (page?.type !== "asset") throw new Error(`${name} is not built`);
          for (const depth of depths) {
            this.emitFile({
              type: "asset",
              fileName: name.replace(".html", `.${depth}.html`),
              source: String(page.source).replace(HERE, `$1="${"../".repeat(depth)}`),
            });
          }
        }
      },
    },
  };
}
