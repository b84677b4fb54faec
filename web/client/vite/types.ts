// One file of types for the whole public face: TypeScript declares each module, API Extractor puts together what the entry
// exports. It refuses a face that names a type which the entry does not export.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";
import type { Plugin } from "vite";

const TSC = path.join(path.dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");

/** `client`: the package's directory. */
export function types(client: string, fileName: string): Plugin {
  return {
    name: "types",
    writeBundle({ dir = "" }) {
      const directory = mkdtempSync(path.join(tmpdir(), "client-types-"));
      try {
        const options = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly"];
        execFileSync(process.execPath, [TSC, "-p", client, ...options, "--outDir", directory, "--rootDir", client], {
          stdio: "inherit",
        });
        bundle(client, path.join(directory, "src/index.d.ts"), path.join(dir, fileName));
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  };
}

function bundle(client: string, entry: string, outcome: string): void {
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: path.join(client, "package.json"),
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: path.dirname(entry),
      mainEntryPointFilePath: entry,
      // It brings a TypeScript of its own.
      compiler: { overrideTsconfig: { extends: path.join(client, "../tsconfig.base.json"), files: [entry] } },
      dtsRollup: { enabled: true, untrimmedFilePath: outcome },
      messages: {
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.Error },
          // All of the face is public.
          "ae-missing-release-tag": { logLevel: ExtractorLogLevel.None },
        },
      },
    },
  });
  const { succeeded } = Extractor.invoke(config, {
    messageCallback(message) {
      // Else it says that it runs, and which TypeScript it has.
      if (message.category === "console") message.logLevel = ExtractorLogLevel.None;
    },
  });
  if (!succeeded) throw new Error("no types for the public face");
}
