import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build, defineConfig, type Plugin, type UserConfig } from "vite";
import { oldestBrowsers } from "../browsers.ts";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const CLASSIC = path.join(HERE, "src/legacy/index.ts");
/** The public face; what stands in them refers to nothing else. */
const FACE = ["errors", "types", "media", "index"];
/** Names between our own classes that are in no text, on no wire, and of nothing in browsers that is used here. */
const OWN_NAMES = `
  activate attach bypass closeCode configure describe elapsed finish hasFailed hasJoined hasOpened isBinary
  isJoined isMissing isOver isReachable joinData keeper losses nextFrame notePath outstanding progressTo
  reliable report sendByServer sendCandidate sendDescription sendDroppable senders socketUrl takesParts
  usesOldApi usesSdk
`
  .trim()
  .split(/\s+/);

const common: UserConfig = {
  root: HERE,
  build: {
    target: oldestBrowsers(),
    // Libraries are left with their white space otherwise, and this one goes to browsers as it is.
    rolldownOptions: { output: { minify: true } },
  },
};

export default defineConfig({
  ...common,
  build: { ...common.build, lib: { entry: "src/index.ts", formats: ["es"], fileName: () => "client.js" } },
  plugins: [withoutOldApi(), inlineNumbers(), shorten(), classicScript(), types()],
});

/** See `OLD_API` in src/hooks.ts. */
function withoutOldApi(): Plugin {
  return {
    name: "without-old-api",
    transform: (code, id) =>
      id.endsWith("/src/hooks.ts") ? code.replace("OLD_API = true", "OLD_API = false") : undefined,
  };
}

/** Writes a module's numbers where they are used, which the minifier does across modules only. */
function inlineNumbers(): Plugin {
  return {
    name: "inline-numbers",
    enforce: "pre",
    transform(code, id) {
      if (!id.startsWith(path.join(HERE, "src"))) return undefined;
      const numbers = new Map(
        [...code.matchAll(/^const ([A-Z_]+) = (\d[\d_]*);$/gm)].map(([, name, value]) => [name, value]),
      );
      const rest = code.replaceAll(/^const [A-Z_]+ = \d[\d_]*;$/gm, "");
      return rest.replaceAll(/\b[A-Z_]{2,}\b(?!["'`])/g, (name) => numbers.get(name) ?? name);
    },
  };
}

/**
 * Drops hints that are meant for other bundlers (this is read by browsers), and shortens the names of what only our own
 * classes use: `handle…`, which is no name in the public face, nor in the DOM's, and those of the list.
 */
function shorten(): Plugin {
  return {
    name: "shorten",
    buildStart() {
      const face = FACE.map((name) => readFileSync(path.join(HERE, "src", `${name}.ts`), "utf8")).join("");
      const told = OWN_NAMES.filter((name) => new RegExp(`\\b${name}\\b`).test(face));
      if (told.length > 0) this.error(`in the public face, so not ours to shorten: ${told.join(", ")}`);
    },
    generateBundle(_, bundle) {
      const names = new Map<string, string>();
      const short = (name: string) => names.get(name) ?? names.set(name, `h${names.size.toString(36)}`).get(name);
      for (const file of Object.values(bundle)) {
        if (file.type !== "chunk") continue;
        file.code = file.code
          // With a space where the word before it would else run into the one behind.
          .replaceAll(/(\w?)\/\* @__PURE__ \*\/ /g, (_, before) => before && `${before} `)
          .replaceAll(/(?<=[.}; *]|async )handle[A-Z]\w*(?=\()/g, (name) => short(name) ?? name)
          .replaceAll(new RegExp(`\\b(${OWN_NAMES.join("|")})\\b`, "g"), (name) => short(name) ?? name);
      }
    },
  };
}

/** The old API for pages without modules: another entry, so another build. */
function classicScript(): Plugin {
  return {
    name: "classic-script",
    async writeBundle() {
      if (!existsSync(CLASSIC)) return;
      await build({
        ...common,
        configFile: false,
        plugins: [inlineNumbers(), shorten()],
        build: {
          ...common.build,
          emptyOutDir: false,
          lib: { entry: CLASSIC, formats: ["iife"], name: "bimccWebRTC", fileName: () => "BimccWebRTC.js" },
        },
      });
    },
  };
}

/** One file of types without imports. */
function types(): Plugin {
  return {
    name: "types",
    writeBundle() {
      const tsc = path.join(path.dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
      const directory = mkdtempSync(path.join(tmpdir(), "client-types-"));
      try {
        const options = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly"];
        execFileSync(process.execPath, [tsc, "-p", HERE, ...options, "--outDir", directory, "--rootDir", HERE]);
        const parts = FACE.map((name) => readFileSync(path.join(directory, "src", `${name}.d.ts`), "utf8"));
        const own = parts.join("").replaceAll(/^(import|export) [^;]*? from "\.\/[^"]*";\n/gm, "");
        writeFileSync(path.join(HERE, "dist/client.d.ts"), `${own}export {};\n`);
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  };
}
