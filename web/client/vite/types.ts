// Makes one file of types for the whole public interface: TypeScript declares each module, and API Extractor joins what
// the entry exports. It fails if the interface names a type that the entry does not export.

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
      // API Extractor brings its own TypeScript.
      compiler: { overrideTsconfig: { extends: path.join(client, "../tsconfig.base.json"), files: [entry] } },
      dtsRollup: { enabled: true, untrimmedFilePath: outcome },
      messages: {
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.Error },
          // The whole interface is public.
          "ae-missing-release-tag": { logLevel: ExtractorLogLevel.None },
        },
      },
    },
  });
  const { succeeded } = Extractor.invoke(config, {
    messageCallback(message) {
      // Otherwise it prints that it runs, and the version of TypeScript.
      if (message.category === "console") message.logLevel = ExtractorLogLevel.None;
    },
  });
  if (!succeeded) throw new Error("no types for the public face");
}
