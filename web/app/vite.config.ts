import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { oldestBrowsers } from "../browsers.ts";
import { boardAssets } from "./vite/board_assets.ts";
import { deeperPages } from "./vite/deeper_pages.ts";

const client = (file: string) => fileURLToPath(new URL(`../client/src/${file}`, import.meta.url));

export default defineConfig({
  plugins: [react(), boardAssets(), deeperPages()],
  // Files are found from where the page is, so that it may be below a path.
  base: "./",
  resolve: {
    alias: [
      { find: /^bimcc-rtc$/, replacement: client("index.ts") },
      { find: /^bimcc-rtc\/shared$/, replacement: client("shared.ts") },
    ],
    // Parts of Excalidraw ask for an older one, which npm installs beside; a page must have one only.
    dedupe: ["react", "react-dom"],
  },
  build: {
    target: oldestBrowsers(),
    chunkSizeWarningLimit: 4000,
    // Every browser that understands the target preloads modules by itself.
    modulePreload: { polyfill: false },
    // The room, and the connection test, which is to load quickly and shares nothing with it.
    rolldownOptions: { input: { index: "index.html", check: "check.html" } },
  },
});
