import path from "node:path";
import { fileURLToPath } from "node:url";
import { build, defineConfig, type Plugin, type UserConfig } from "vite";
import { oldestBrowsers } from "../browsers.ts";
import { OWN_NAMES } from "./vite/own_names.ts";
import { types } from "./vite/types.ts";

const HERE = path.dirname(fileURLToPath(import.meta.url));

const common: UserConfig = {
  root: HERE,
  build: {
    target: oldestBrowsers(),
    rolldownOptions: {
      // Inlines numbers where they are used (src/limits.ts).
      optimization: { inlineConst: { mode: "all", pass: 2 } },
      output: {
        // By default, white space is kept in libraries, but browsers load this one as it is.
        minify: { compress: true, mangle: true, codegen: true, mangleProps: OWN_NAMES },
        // Annotations are only for other bundlers.
        comments: { annotation: false },
      },
    },
  },
};

export default defineConfig({
  ...common,
  build: { ...common.build, lib: { entry: "src/index.ts", formats: ["es"], fileName: () => "client.js" } },
  plugins: [classicScript(), types(HERE, "client.d.ts")],
});

/** The old API for pages without modules: another entry, so another build. */
function classicScript(): Plugin {
  return {
    name: "classic-script",
    async writeBundle({ dir = "" }) {
      await build({
        ...common,
        configFile: false,
        build: {
          ...common.build,
          outDir: dir,
          emptyOutDir: false,
          lib: {
            entry: "src/legacy/index.ts",
            formats: ["iife"],
            name: "bimccWebRTC",
            fileName: () => "BimccWebRTC.js",
          },
        },
      });
    },
  };
}
