// The common part of the JavaScript programs here: see README.md.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** Around the padding of streams, and what a call has. */
const SIZES = [1, 2, 3, 4, 5, 160, 999, 1200];

/** The same bytes each time, different for each message. */
function messages() {
  return SIZES.map((size) => createHash("shake256", { outputLength: size }).update(String(size)).digest());
}

/** Sends all messages by `send` and waits until exactly these have come to the function given to `subscribe`. */
async function relay(send, subscribe) {
  const sent = messages();
  const arrived = new Promise((resolve, reject) => {
    let next = 0;
    subscribe((data) => {
      try {
        assert.deepEqual(Buffer.from(data), sent[next++]);
        if (next === sent.length) resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
  for (const message of sent) await send(message);
  await arrived;
}

/** The certificate in this file. */
export function rootOf(path) {
  return readFileSync(path, "utf8");
}

/** Runs `program` with what was typed, and ends the process. */
export async function run(program) {
  const [transport, host, port, username, password, ca] = process.argv.slice(2);
  setTimeout(() => {
    console.error("timed out");
    process.exit(1);
  }, 30_000);
  await program({ transport, host, port: Number(port), username, password, ca }, relay);
  console.log(`relayed ${SIZES.reduce((sum, size) => sum + size)} bytes each way`);
  process.exit(0);
}
