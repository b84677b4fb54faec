import type { Room } from "bimcc-rtc";
import { Board } from "../board/Board";
import type { Session } from "../model/session";
import { useSource } from "../model/store";
import { theme } from "../model/theme";

export function BoardArea({ session, room }: { session: Session; room: Room }) {
  const { shown } = useSource(theme);
  return (
    <div className="board-area" id="board">
      <Board room={room} theme={shown} onProblem={session.boardProblem} onOtherFiles={session.offerFromBoard} />
    </div>
  );
}
