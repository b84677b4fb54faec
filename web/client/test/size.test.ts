import { build, parseAst } from "vite";
import { expect, it } from "vitest";

const LIMIT = 14 * 1024;

it("the whole client fits into 14 KiB, gzipped", { timeout: 60_000 }, async () => {
  const root = new URL("..", import.meta.url).pathname;
  const built = await build({ root, logLevel: "silent", build: { write: false } });
  const chunks = [built].flat().flatMap((result) => ("output" in result ? result.output : []));
  const code = chunks.map((chunk) => (chunk.type === "chunk" ? chunk.code : "")).join("");
  expect(code).toContain("joinRoom");
  expect(() => parseAst(code)).not.toThrow();
  const gzipped = await new Response(
    new Blob([code]).stream().pipeThrough(new CompressionStream("gzip")),
  ).arrayBuffer();
  expect(gzipped.byteLength).toBeLessThanOrEqual(LIMIT);
});
