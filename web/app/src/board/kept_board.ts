// The board in this tab's session storage, so that a reload does not lose it when nobody else is there. It is kept only
// as long as the tab, because a board that came back days later would be a surprise.

const MAX_CHARACTERS = 2_000_000;
/** Writing more than this every few seconds would be noticeable. */
const MAX_ELEMENTS = 3_000;

function keyOf(room: string): string {
  return `bimcc-rtc.board.${room}`;
}

export function loadKeptBoard(room: string): unknown[] {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(keyOf(room)) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

export function keepBoard(room: string, elements: readonly { isDeleted: boolean }[]): void {
  try {
    const kept = elements.length <= MAX_ELEMENTS ? elements : elements.filter(({ isDeleted }) => !isDeleted);
    const json = kept.length <= MAX_ELEMENTS ? JSON.stringify(kept) : "";
    if (json === "" || json.length > MAX_CHARACTERS) sessionStorage.removeItem(keyOf(room));
    else sessionStorage.setItem(keyOf(room), json);
  } catch {
    // Storage may be full or forbidden; the board works without it.
  }
}
