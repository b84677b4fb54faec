import type { Peer, Room } from "bimcc-rtc";

export interface BoardProps {
  room: Room;
  theme: "light" | "dark";
  readOnly?: boolean;
  /** Something was refused. `reason`: what the peer did; without a peer, a sentence on what happened. */
  onProblem?: (peer: Peer | undefined, reason: string) => void;
  /** These were brought to the board, and are nothing for it. */
  onOtherFiles?: (files: File[]) => void;
}
