import { defineConfig } from "vitest/config";

// Each package's own configuration says how its imports are found.
export default defineConfig({
  test: {
    projects: [
      "client",
      {
        extends: "./app/vite.config.ts",
        // Excalidraw imports files in ways that only a bundler understands.
        test: {
          name: "app",
          root: "app",
          server: { deps: { inline: [/excalidraw/, /roughjs/, /@radix-ui/, /jotai/] } },
        },
      },
    ],
  },
});
