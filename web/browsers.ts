// What the pages and the client are built for: the browsers of the end of 2022. `lint/` finds what these do not have.
import { readFileSync } from "node:fs";

interface Browsers {
  /** The year of Baseline whose features all of them have. */
  baseline: number;
  oldest: Record<string, string>;
}

/** As Vite's `build.target` names them. */
export function oldestBrowsers(): string[] {
  const { oldest } = JSON.parse(readFileSync(new URL("./browsers.json", import.meta.url), "utf8")) as Browsers;
  return Object.entries(oldest).map(([name, version]) => name + version);
}
