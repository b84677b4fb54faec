// What the client's build shortens is in nobody else's text: not in the browser's, the language's, the wire's, the public
// face's or the old API's.
import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { OWN_NAMES } from "../client/vite/own_names";
import { type Node, nodesOf, parse, WEB } from "./sources";

const DECLARING = [
  "AccessorProperty",
  "MethodDefinition",
  "Property",
  "PropertyDefinition",
  "TSAbstractMethodDefinition",
  "TSAbstractPropertyDefinition",
  "TSMethodSignature",
  "TSParameterProperty",
  "TSPropertySignature",
];

/** Names of properties that are declared in a file. What is global is a property, too. */
function namesIn(file: string, isGlobal = false): Set<string> {
  const names = new Set<string>();
  for (const node of nodesOf(parse(file))) {
    const key = (node.key ?? (isGlobal && node.id) ?? undefined) as Node | undefined;
    const isDeclared = DECLARING.includes(node.type) ? !node.computed : isGlobal && /Declarat|Function/.test(node.type);
    const name = key?.name ?? key?.value;
    if (isDeclared && key?.type !== "PrivateIdentifier" && typeof name === "string") names.add(name);
  }
  return names;
}

const areOurs = (names: Set<string>) =>
  [...names].filter((name) => OWN_NAMES.include.test(name) && !OWN_NAMES.exclude.test(name));

it("is no name of the language or the browser", () => {
  const options = ["node_modules/typescript/bin/tsc", "-p", "client", "--listFilesOnly"];
  const files = execFileSync(process.execPath, options, { cwd: WEB, encoding: "utf8" }).split("\n");
  const libraries = files.filter((file) => /\/lib\.[^/]*\.d\.ts$/.test(file));
  const names = new Set(libraries.flatMap((file) => [...namesIn(file, true)]));
  for (const known of ["createDataChannel", "replaceAll", "RTCPeerConnection", "handleEvent"]) {
    expect(names).toContain(known);
  }
  expect(names.size).toBeGreaterThan(5000);
  expect(areOurs(names)).toEqual([]);
});

it.each(["types", "peer_types", "errors", "media", "protocol"])("is no name in %s.ts", (module) => {
  const names = namesIn(`client/src/${module}.ts`);
  expect(names.size).toBeGreaterThan(1);
  expect(areOurs(names)).toEqual([]);
});

it.each(["old_client", "old_emitter"])("is no name of the old API in %s.ts", (module) => {
  const names = new Set<string>();
  for (const node of nodesOf(parse(`client/src/legacy/${module}.ts`))) {
    if (node.type !== "ClassBody") continue;
    for (const { key } of node.body as { key: Node }[]) if (key.type === "Identifier") names.add(String(key.name));
  }
  expect(names.size).toBeGreaterThan(1);
  expect(areOurs(names)).toEqual([]);
});
