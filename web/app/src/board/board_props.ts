import type { Peer, Room } from "bimcc-rtc";

export interface BoardProps {
  room: Room;
  theme: "light" | "dark";
  readOnly?: boolean;
  /** Something was refused. `reason` says what the peer did; without a peer, it is a sentence about what happened. */
  onProblem?: (peer: Peer | undefined, reason: string) => void;
  /** These files were dropped or pasted on the board, but are not for it. */
  onOtherFiles?: (files: File[]) => void;
}
