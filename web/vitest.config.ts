import { defineConfig } from "vitest/config";

/** Tests that try hundreds of seeds are slow on a machine that is busy with others. */
const testTimeout = 60_000;

// Each package's own configuration says how its imports are found.
export default defineConfig({
  test: {
    projects: [
      { extends: "./client/vite.config.ts", test: { name: "client", root: "client", testTimeout } },
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
