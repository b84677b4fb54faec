// Says that not everything can be seen at once, and leads through the parts.

import type { Part } from "./excalidraw_scene";

interface PartNoteProps {
  part: Part;
  onNext: () => void;
  onClose: () => void;
}

export function PartNote({ part, onNext, onClose }: PartNoteProps) {
  return (
    <div className="whiteboard-part">
      <p role="status">
        Not all of it fits into the window: this is part {part.number} of {part.of}.
      </p>
      <button type="button" className="button small" id="next-part" onClick={onNext}>
        Next part
      </button>
      <button type="button" className="button small" id="close-part" onClick={onClose}>
        Close
      </button>
    </div>
  );
}
