// The package for npm, as `npm publish` would make it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

const CLIENT = fileURLToPath(new URL("../../web/client", import.meta.url));
const BUILT = ["dist/BimccWebRTC.js", "dist/client.d.ts", "dist/client.js"];
const run = promisify(execFile);

test("the package for npm has what its manifest names", { timeout: 180_000 }, async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), "bimcc-rtc-test-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  // The package is made from the last build, so that no other test finds a partial build: the manifest would build
  // again before packing.
  await cp(CLIENT, path.join(directory, "client"), { recursive: true, filter: (file) => !file.includes("node_modules") });
  const args = ["pack", "--ignore-scripts", "--pack-destination", directory];
  await run("npm", args, { cwd: path.join(directory, "client") });
  const manifest = JSON.parse(await readFile(path.join(CLIENT, "package.json"), "utf8"));
  assert.equal(manifest.scripts.prepack, "npm run build");
  await run("tar", ["-xzf", `bimcc-rtc-${manifest.version}.tgz`], { cwd: directory });

  const { stdout } = await run("find", ["package", "-type", "f"], { cwd: directory });
  const files = stdout.trim().split("\n").map((file) => file.replace("package/", "")).sort();
  assert.deepEqual(files, ["LICENSE", "README.md", ...BUILT, "package.json"].sort());
  const targets = Object.values(manifest.exports).flatMap((target) =>
    typeof target === "string" ? target : Object.values(target),
  );
  for (const target of [manifest.types, ...targets]) assert.ok(files.includes(target.replace("./", "")), target);
  const { joinRoom, openCamera } = await import(pathToFileURL(path.join(directory, "package/dist/client.js")));
  assert.deepEqual([typeof joinRoom, typeof openCamera], ["function", "function"]);
  // This also works in a program without WebRTC or WebSocket.
  await assert.rejects(joinRoom({ url: "ws://127.0.0.1:1", room: "a room" }), { reason: "not_supported" });
  await assert.rejects(openCamera(), { reason: "not_supported" });
});
