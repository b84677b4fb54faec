import { Component, type ReactNode } from "react";

interface BoundaryProps {
  /** The part that has stopped, as the beginning of a sentence: "The chat". */
  what: string;
  /** Shown instead of the sentence and its button. */
  instead?: (retry: () => void) => ReactNode;
  children: ReactNode;
}

/**
 * Limits an error to its children. Without it, one part that cannot be shown would remove the whole page, and the
 * camera would stay on behind an empty page.
 */
export class Boundary extends Component<BoundaryProps, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  readonly #retry = () => this.setState({ hasFailed: false });

  override render() {
    const { what, instead, children } = this.props;
    if (!this.state.hasFailed) return children;
    return instead ? instead(this.#retry) : <Broken what={what} onRetry={this.#retry} />;
  }
}

export function Broken({ what, onRetry }: { what: string; onRetry: () => void }) {
  return (
    <div className="broken" role="alert">
      <p>{what} could not be shown. The rest goes on.</p>
      <button type="button" className="button small retry" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
