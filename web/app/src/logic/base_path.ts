// Where the app is on its host: a proxy may serve it below a path, of which the server then knows nothing.

// Kept apart from the constructor, where Vite would take it for a file to bundle.
const here = import.meta.url;

/** The path that the lobby is at, with a slash at both ends. Scripts are built into a directory beside the pages. */
export const BASE_PATH = import.meta.env.PROD ? new URL("..", here).pathname : "/";

/** The rest of a path behind the base, with its first slash. */
export function withinBase(path: string, base = BASE_PATH): string {
  return path.startsWith(base) ? path.slice(base.length - 1) : path;
}
