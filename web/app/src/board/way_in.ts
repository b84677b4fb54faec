// The way in for files that are dropped on the board, pasted there or chosen: all of them come by here, whoever notices
// them first. The board itself is loaded late, so it says when it is there.

export interface Point {
  readonly clientX: number;
  readonly clientY: number;
}

/** Takes what a board can take and hands on the rest. `at`: where they were dropped. */
export type TakeFiles = (files: readonly File[], at?: Point) => void;

let board: TakeFiles | undefined;

/** Returns what ends it. */
export function openWayIn(take: TakeFiles): () => void {
  board = take;
  return () => {
    if (board === take) board = undefined;
  };
}

/** False if there is no board that could take them. */
export function takeToBoard(files: readonly File[], at?: Point): boolean {
  board?.(files, at);
  return board !== undefined;
}

/** Set while a file that was looked at is given to Excalidraw by an event like the one it came with. */
export const handedOn = new WeakSet<Event>();
