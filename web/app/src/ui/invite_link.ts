import { roomPath } from "../logic/room_name";

/** The link to a room, without anything else from this page's own address. */
export function inviteLink(room: string): string {
  return location.origin + roomPath(room);
}

/** A link to localhost leads everybody to their own machine. */
export function isLinkForOthers(): boolean {
  return !/^(localhost|127\..*|\[::1\]|.*\.localhost)$/.test(location.hostname);
}

/** Returns whether the link was copied. A page over plain http can only use the old way. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text);
  }
}

function copyTheOldWay(text: string): boolean {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return copied;
}
