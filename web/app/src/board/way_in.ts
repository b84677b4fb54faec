// The entry point for files that are dropped on the board, pasted there or chosen, whichever part notices them first.
// The board itself is loaded late, so it reports when it is ready.

export interface Point {
  readonly clientX: number;
  readonly clientY: number;
}

/** Takes the files that a board can use and passes on the rest. `at` is the place where they were dropped. */
export type TakeFiles = (files: readonly File[], at?: Point) => void;

let board: TakeFiles | undefined;

/** Returns a function that ends it. */
export function openWayIn(take: TakeFiles): () => void {
  board = take;
  return () => {
    if (board === take) board = undefined;
  };
}

/** Returns false if there is no board to take them. */
export function takeToBoard(files: readonly File[], at?: Point): boolean {
  board?.(files, at);
  return board !== undefined;
}

/** Events that pass on a checked file to Excalidraw, made like the event with which the file came. */
export const handedOn = new WeakSet<Event>();
