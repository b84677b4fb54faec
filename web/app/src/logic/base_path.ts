// The path of the app on its host. A proxy may serve it below a path that the server does not know.

// This is separate from the constructor, because Vite would otherwise treat it as a file to bundle.
const here = import.meta.url;

/** The path of the lobby, with a slash at both ends. Scripts are built into a directory next to the pages. */
export const BASE_PATH = import.meta.env.PROD ? new URL("..", here).pathname : "/";

/** The rest of a path after the base, with its first slash. */
export function withinBase(path: string, base = BASE_PATH): string {
  return path.startsWith(base) ? path.slice(base.length - 1) : path;
}
