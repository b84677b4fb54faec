import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { oldestBrowsers } from "../browsers.ts";
import { boardAssets } from "./vite/board_assets.ts";
import { deeperPages } from "./vite/deeper_pages.ts";

const client = (file: string) => fileURLToPath(new URL(`../client/src/${file}`, import.meta.url));

export default defineConfig({
  plugins: [react(), boardAssets(), deeperPages()],
  // Paths are relative to the page, so that the page may be below any path.
  base: "./",
  resolve: {
    alias: [
      { find: /^bimcc-rtc$/, replacement: client("index.ts") },
      { find: /^bimcc-rtc\/shared$/, replacement: client("shared.ts") },
    ],
    // Parts of Excalidraw ask for an older version, which npm installs in addition; a page must have only one.
    dedupe: ["react", "react-dom"],
  },
  build: {
    target: oldestBrowsers(),
    chunkSizeWarningLimit: 4000,
    // Every browser that supports the target preloads modules by itself.
    modulePreload: { polyfill: false },
    // The room, and the connection test, which must load quickly and shares nothing with the room.
    rolldownOptions: { input: { index: "index.html", check: "check.html" } },
  },
});
