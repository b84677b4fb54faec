// The whiteboard of a room. Excalidraw has megabytes, so it is loaded after the rest of the page is there.

import { Component, lazy, type ReactNode, Suspense, useState } from "react";
import "./board.css";
import type { BoardProps } from "./board_props";

/** If it breaks or cannot be loaded, the rest of the page continues to work. */
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
  // Each attempt makes a new component, because the result of `lazy` remembers a failed load.
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
