// Which way the sources depend on each other. Imports of types count like any other: who reads one file has to read the other.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { nodesOf, parse, sourcesIn, WEB } from "./sources";

const FILES = [...sourcesIn("client/src"), ...sourcesIn("app/src")];

/** What a file imports, as it is written there. */
function importsOf(file: string): string[] {
  return [...nodesOf(parse(file))].flatMap(({ source }) => {
    const { value } = (source ?? {}) as { value?: unknown };
    return typeof value === "string" ? [value] : [];
  });
}

/** The file that a relative import means, as a path from `web/`; undefined for packages and styles. */
function target(file: string, imported: string): string | undefined {
  if (!imported.startsWith(".")) return undefined;
  const base = path.posix.join(path.posix.dirname(file), imported);
  return [base, `${base}.ts`, `${base}.tsx`, `${base}/index.ts`].find(
    (candidate) => /\.tsx?$/.test(candidate) && existsSync(path.join(WEB, candidate)),
  );
}

const imports = new Map(FILES.map((file) => [file, importsOf(file)]));
const targets = new Map(
  FILES.map((file) => [file, (imports.get(file) ?? []).flatMap((imported) => target(file, imported) ?? [])]),
);

it("sees the imports", () => {
  expect(targets.get("client/src/index.ts")).toEqual(
    expect.arrayContaining(["client/src/room.ts", "client/src/types.ts", "client/src/errors.ts"]),
  );
  expect(targets.get("app/src/board/Board.tsx")).toContain("app/src/board/ExcalidrawBoard.tsx");
  expect(imports.get("app/src/main.tsx")).toContain("bimcc-rtc");
});

it("no file imports itself, by whatever way round", () => {
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, way: string[]) => {
    if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(" -> "));
    if (done.has(file) || way.includes(file)) return;
    for (const next of targets.get(file) ?? []) visit(next, [...way, file]);
    done.add(file);
  };
  for (const file of FILES) visit(file, []);
  expect(circles).toEqual([]);
});

it("the app knows the client by its faces, and the client does not know the app", () => {
  const faces = ["bimcc-rtc", "bimcc-rtc/shared"];
  const wrong = [...imports].flatMap(([file, all]) =>
    all
      .filter((imported) => {
        const home = file.split("/").slice(0, 2).join("/");
        if (!imported.startsWith(".")) return imported.startsWith("bimcc-rtc") && !faces.includes(imported);
        return !path.posix.join(path.posix.dirname(file), imported).startsWith(`${home}/`);
      })
      .map((imported) => `${file}: ${imported}`),
  );
  expect(wrong).toEqual([]);
});

it("the client's core does not know the old API, which plugs into it", () => {
  const isOld = (file: string) => file.startsWith("client/src/legacy/");
  const wrong = [...targets].filter(([file, all]) => !isOld(file) && all.some(isOld)).map(([file]) => file);
  expect(wrong).toEqual([]);
});

it("no file is longer than one reads at once", () => {
  const lines = (file: string) => readFileSync(path.join(WEB, file), "utf8").split("\n").length - 1;
  expect(FILES.filter((file) => lines(file) > 600)).toEqual([]);
});
