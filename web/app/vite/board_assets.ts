// Provides what Excalidraw needs besides its code, so that a page never asks another host: copies its fonts to the
// page's own files, and removes its fallback to a public CDN and the parts that this app does not offer.

import { createReadStream, readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import type { Plugin } from "vite";

const require = createRequire(import.meta.url);
const PACKAGE = path.dirname(path.dirname(path.dirname(require.resolve("@excalidraw/excalidraw"))));
const { version } = JSON.parse(readFileSync(path.join(PACKAGE, "package.json"), "utf8"));
const FONTS = path.join(PACKAGE, "dist", "prod", "fonts");
const FOLDER = `assets/board-${version}`;
const CDN = "https://esm.sh/";
const EXCALIDRAW = "/@excalidraw/excalidraw/";
const TRANSLATION = /^\.\/locales\/(?!en-)/;
const MERMAID = "@excalidraw/mermaid-to-excalidraw";
const NOTHING = "\0board-nothing";

export function boardAssets(): Plugin {
  let base = "/";
  return {
    name: "board-assets",
    config: () => ({ define: { __BOARD_ASSETS__: JSON.stringify(`${FOLDER}/`) } }),
    configResolved(config) {
      base = config.base;
    },
    // Diagrams from text are hidden in the page; without this, their megabytes would still be included. Excalidraw's
    // translations are removed, because it would also change the page's `lang` and `dir`.
    resolveId: {
      order: "pre",
      handler: (id, importer) =>
        id === MERMAID || (importer?.includes(EXCALIDRAW) && TRANSLATION.test(id)) ? NOTHING : undefined,
    },
    load: (id) =>
      id === NOTHING
        ? `export const parseMermaidToExcalidraw = () => Promise.reject(new Error("not here"));`
        : undefined,
    transform(code, id) {
      if (!id.includes(EXCALIDRAW) || !code.includes(CDN)) return undefined;
      // The URL is inside a template literal.
      return { code: code.replaceAll(CDN, `\${location.origin}\${window.EXCALIDRAW_ASSET_PATH}`), map: null };
    },
    generateBundle() {
      for (const file of fontFiles()) {
        this.emitFile({
          type: "asset",
          fileName: `${FOLDER}/fonts/${file}`,
          source: readFileSync(path.join(FONTS, file)),
        });
      }
    },
    configureServer(server) {
      server.middlewares.use(`${base}${FOLDER}/fonts/`, (request, response, next) => {
        const file = decodeURIComponent((request.url ?? "").split("?")[0] ?? "").replace(/^\//, "");
        if (!fontFiles().includes(file)) return next();
        response.setHeader("Content-Type", "font/woff2");
        createReadStream(path.join(FONTS, file)).pipe(response);
      });
    },
  };
}

function fontFiles(): string[] {
  const files = readdirSync(FONTS, { recursive: true }).map(String);
  // Assistant is the font of Excalidraw's buttons, which comes with its style sheet.
  return files
    .filter((file) => !file.startsWith("Assistant") && statSync(path.join(FONTS, file)).isFile())
    .map((file) => file.replaceAll("\\", "/"));
}
