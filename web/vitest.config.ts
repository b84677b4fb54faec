import { defineConfig } from "vitest/config";
import { BUILT } from "./client/test/build.ts";

/** Tests that try hundreds of seeds are slow on a machine that is busy with others. */
const testTimeout = 60_000;

// Each package's own configuration says how its imports are found.
export default defineConfig({
  test: {
    projects: [
      // Of all sources together.
      { test: { name: "web", include: ["test/*.test.ts"], testTimeout } },
      { extends: "./client/vite.config.ts", test: { name: "client", root: "client", testTimeout } },
      {
        // Those tests that know the public faces alone, on what browsers get.
        extends: "./client/vite.config.ts",
        resolve: {
          alias: [
            { find: /^\.\.\/src\/index$/, replacement: `${BUILT}/client.js` },
            { find: /^\.\.\/src\/legacy\/index$/, replacement: `${BUILT}/BimccWebRTC.js` },
          ],
        },
        test: {
          name: "client as built",
          root: "client",
          include: ["test/{calls,join,log}.test.ts"],
          globalSetup: "test/build.ts",
          testTimeout,
        },
      },
      {
        extends: "./app/vite.config.ts",
        // Excalidraw imports files in ways that only a bundler understands.
        test: {
          name: "app",
          root: "app",
          testTimeout,
          // Tests that read them; else they are empty.
          css: { include: [/\?raw$/] },
          server: { deps: { inline: [/excalidraw/, /roughjs/, /@radix-ui/, /jotai/] } },
        },
      },
    ],
  },
});
