import type { ReactNode } from "react";
import { IconButton } from "./IconButton";
import { CloseIcon } from "./icons";

interface BannerProps {
  tone: "warning" | "info";
  id?: string;
  onClose?: () => void;
  children: ReactNode;
}

/** A line under the bar that stays as long as its text is true. */
export function Banner({ tone, id, onClose, children }: BannerProps) {
  return (
    <div className="banner" data-tone={tone} id={id} role="status">
      <div className="banner-text">{children}</div>
      {onClose && <IconButton icon={CloseIcon} label="Dismiss" onClick={onClose} />}
    </div>
  );
}
