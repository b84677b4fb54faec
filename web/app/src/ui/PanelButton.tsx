import type { ComponentType } from "react";
import type { Panel, Session } from "../model/session";
import { useSource } from "../model/store";
import { IconButton } from "./IconButton";
import { SHORTCUTS } from "./shortcuts";

interface PanelButtonProps {
  session: Session;
  panel: Panel;
  icon: ComponentType;
  label: string;
  badge?: number;
}

/** Opens one of the panels at the side, or closes it. */
export function PanelButton({ session, panel, ...look }: PanelButtonProps) {
  return (
    <IconButton
      {...look}
      id={`open-${panel}`}
      expanded={useSource(session.panel) === panel}
      controls="panel"
      shortcut={SHORTCUTS[panel].keys}
      onClick={() => session.togglePanel(panel)}
    />
  );
}
