// The whiteboard of a room. Excalidraw is megabytes, so it is loaded when the rest of the page stands.

import { Component, lazy, type ReactNode, Suspense, useState } from "react";
import "./board.css";
import type { BoardProps } from "./board_props";

/** When it breaks, or cannot be loaded, the rest of the page goes on. */
export function Board(props: BoardProps) {
  const [attempt, setAttempt] = useState(0);
  return (
    <section className="whiteboard" aria-label="Whiteboard">
      <ErrorBoundary key={attempt} onRetry={() => setAttempt(attempt + 1)}>
        <LoadedBoard {...props} />
      </ErrorBoundary>
    </section>
  );
}

function LoadedBoard(props: BoardProps) {
  // Made anew with each attempt: what could not be loaded is remembered by what `lazy` gives.
  const [ExcalidrawBoard] = useState(() => lazy(() => import("./ExcalidrawBoard")));
  return (
    <Suspense fallback={<Loading />}>
      <ExcalidrawBoard key={props.room.id} {...props} />
    </Suspense>
  );
}

class ErrorBoundary extends Component<{ onRetry: () => void; children: ReactNode }, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override render() {
    if (!this.state.hasFailed) return this.props.children;
    return (
      <div className="whiteboard-loading" role="alert">
        <p>The whiteboard has stopped. Calls, chat and files go on.</p>
        <button type="button" className="button" onClick={this.props.onRetry}>
          Start it again
        </button>
      </div>
    );
  }
}

function Loading() {
  return (
    <p className="whiteboard-loading" role="status">
      Loading the whiteboard…
    </p>
  );
}
