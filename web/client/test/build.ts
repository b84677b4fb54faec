// Builds the client for the tests that run on the built files as well.
import { build } from "vite";

const root = new URL("..", import.meta.url).pathname;
/** Beside `dist`, which browser tests may be reading. */
export const BUILT = `${root}node_modules/.built`;

export default async function setup(): Promise<void> {
  await build({ root, logLevel: "warn", build: { outDir: BUILT } });
}
