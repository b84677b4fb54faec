// The sources of a package as syntax trees.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseAst } from "vite";

export const WEB = fileURLToPath(new URL("..", import.meta.url));

export type Node = { type: string } & Record<string, unknown>;

/** All below a directory, as paths from `web/`. */
export function sourcesIn(directory: string): string[] {
  const files = readdirSync(path.join(WEB, directory), { recursive: true }).map(String);
  return files.filter((file) => /\.tsx?$/.test(file)).map((file) => path.posix.join(directory, file));
}

export function parse(file: string): Node {
  const lang = file.endsWith(".d.ts") ? "dts" : file.endsWith(".tsx") ? "tsx" : "ts";
  return parseAst(readFileSync(path.resolve(WEB, file), "utf8"), { lang }) as unknown as Node;
}

/** Every node, those within others after them. */
export function* nodesOf(value: unknown): Generator<Node> {
  if (typeof value !== "object" || value === null) return;
  if ("type" in value && typeof value.type === "string") yield value as Node;
  for (const part of Object.values(value)) yield* nodesOf(part);
}
