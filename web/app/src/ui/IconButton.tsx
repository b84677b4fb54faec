import type { ComponentType } from "react";

interface IconButtonProps {
  icon: ComponentType;
  label: string;
  onClick: () => void;
  id?: string;
  /** For buttons that switch something. */
  pressed?: boolean;
  /** For buttons that open something. */
  expanded?: boolean;
  controls?: string;
  shortcut?: string;
  disabled?: boolean;
  busy?: boolean;
  className?: string;
  /** A number on the button: how many things wait there. */
  badge?: number;
}

/** A button with an icon. Screen readers read its label, and it is shown when the pointer is over the button. */
export function IconButton(props: IconButtonProps) {
  const { icon: Icon, label, shortcut, badge = 0, className = "" } = props;
  return (
    <button
      type="button"
      id={props.id}
      className={`icon-button ${className}`}
      title={shortcut ? `${label} (${shortcut})` : label}
      aria-label={badge > 0 ? `${label}, ${badge} new` : label}
      aria-pressed={props.pressed}
      aria-expanded={props.expanded}
      aria-controls={props.expanded ? props.controls : undefined}
      aria-keyshortcuts={shortcut}
      aria-busy={props.busy || undefined}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon />
      {badge > 0 && (
        <span className="badge" aria-hidden="true">
          {badge > 99 ? "99+" : badge}
        </span>
      )}
    </button>
  );
}
