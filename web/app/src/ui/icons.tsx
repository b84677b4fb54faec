// Icons drawn for this page: 24 units square, one stroke width, the colour of the text.
import type { ReactNode } from "react";

function Svg({ children }: { children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

const slash = <path d="M4 4 20 20" />;

export function MicrophoneIcon() {
  return (
    <Svg>
      <rect x="9" y="3" width="6" height="11" rx="3" />
      <path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" />
    </Svg>
  );
}

export function MicrophoneOffIcon() {
  return (
    <Svg>
      <path d="M15 9.5V6a3 3 0 0 0-5.8-1.1M9 9v2a3 3 0 0 0 4.6 2.5M5.5 11.5a6.5 6.5 0 0 0 10.6 5M18.5 11.5a6.4 6.4 0 0 1-.4 2.2M12 18v3" />
      {slash}
    </Svg>
  );
}

export function CameraIcon() {
  return (
    <Svg>
      <rect x="3" y="6.5" width="12.5" height="11" rx="2.5" />
      <path d="m15.5 11 5.5-3v8l-5.5-3" />
    </Svg>
  );
}

export function CameraOffIcon() {
  return (
    <Svg>
      <path d="M9.5 6.5H13a2.5 2.5 0 0 1 2.5 2.5v2l5.5-3v8l-2-1.1M15 16.2a2.5 2.5 0 0 1-2 1.3H5.5A2.5 2.5 0 0 1 3 15V9a2.5 2.5 0 0 1 2.5-2.5" />
      {slash}
    </Svg>
  );
}

export function TurnIcon() {
  return (
    <Svg>
      <path d="M4 12a8 8 0 0 1 13.6-5.7L20 8.6M20 12a8 8 0 0 1-13.6 5.7L4 15.4M20 4v4.6h-4.6M4 20v-4.6h4.6" />
    </Svg>
  );
}

export function ScreenIcon() {
  return (
    <Svg>
      <rect x="3" y="4.5" width="18" height="12" rx="2" />
      <path d="M8.5 20h7M12 13.5v-6M9.2 10.2 12 7.4l2.8 2.8" />
    </Svg>
  );
}

export function ChatIcon() {
  return (
    <Svg>
      <path d="M5.5 4.5h13A2.5 2.5 0 0 1 21 7v7.5a2.5 2.5 0 0 1-2.5 2.5H11l-4.5 3.5V17h-1A2.5 2.5 0 0 1 3 14.5V7a2.5 2.5 0 0 1 2.5-2.5zM8 9h8M8 12.5h5" />
    </Svg>
  );
}

export function PeopleIcon() {
  return (
    <Svg>
      <circle cx="9" cy="8.5" r="3.5" />
      <path d="M2.5 19.5a6.5 6.5 0 0 1 13 0M15.5 5.3a3.5 3.5 0 0 1 0 6.4M18 14.3a6.5 6.5 0 0 1 3.5 5.2" />
    </Svg>
  );
}

export function InviteIcon() {
  return (
    <Svg>
      <circle cx="10" cy="8.5" r="3.5" />
      <path d="M3.5 19.5a6.5 6.5 0 0 1 13 0M19 8v6M16 11h6" />
    </Svg>
  );
}

export function SettingsIcon() {
  return (
    <Svg>
      <path d="M3.5 7.5h9M18.5 7.5h2M3.5 16.5h2M11.5 16.5h9" />
      <circle cx="15.5" cy="7.5" r="2.7" />
      <circle cx="8.5" cy="16.5" r="2.7" />
    </Svg>
  );
}

export function LeaveIcon() {
  return (
    <Svg>
      <path d="M10 4H6.5A2.5 2.5 0 0 0 4 6.5v11A2.5 2.5 0 0 0 6.5 20H10M10 12h10.5M16.5 8l4 4-4 4" />
    </Svg>
  );
}

export function CloseIcon() {
  return (
    <Svg>
      <path d="M6 6 18 18M18 6 6 18" />
    </Svg>
  );
}

export function CopyIcon() {
  return (
    <Svg>
      <rect x="8.5" y="8.5" width="11.5" height="11.5" rx="2.5" />
      <path d="M15.5 5.5A2 2 0 0 0 13.5 4H6a2 2 0 0 0-2 2v7.5a2 2 0 0 0 1.5 2" />
    </Svg>
  );
}

export function CheckIcon() {
  return (
    <Svg>
      <path d="m5 12.5 4.5 4.5L19 7.5" />
    </Svg>
  );
}

export function FileIcon() {
  return (
    <Svg>
      <path d="M13.5 3.5H7A1.5 1.5 0 0 0 5.5 5v14A1.5 1.5 0 0 0 7 20.5h10a1.5 1.5 0 0 0 1.5-1.5V8.5zM13.5 3.5v5h5" />
    </Svg>
  );
}

export function AttachIcon() {
  return (
    <Svg>
      <path d="m19.5 11.5-7.8 7.8a4.8 4.8 0 0 1-6.8-6.8l8.2-8.2a3.2 3.2 0 0 1 4.5 4.5l-8 8a1.6 1.6 0 0 1-2.3-2.3l7.2-7.2" />
    </Svg>
  );
}

export function SendIcon() {
  return (
    <Svg>
      <path d="M4 12 4.5 4.5 21 12 4.5 19.5zM4 12h8" />
    </Svg>
  );
}

export function ShareIcon() {
  return (
    <Svg>
      <path d="M12 14.5V3.5M8 7l4-4 4 4M7 10.5H6A1.5 1.5 0 0 0 4.5 12v7A1.5 1.5 0 0 0 6 20.5h12a1.5 1.5 0 0 0 1.5-1.5v-7a1.5 1.5 0 0 0-1.5-1.5h-1" />
    </Svg>
  );
}

export function WarningIcon() {
  return (
    <Svg>
      <path d="M12 4 2.8 19.5h18.4zM12 10v4.5M12 17v.2" />
    </Svg>
  );
}

export function LargeIcon() {
  return (
    <Svg>
      <path d="M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7" />
    </Svg>
  );
}

export function SmallIcon() {
  return (
    <Svg>
      <path d="M20 10h-6V4M14 10l6.5-6.5M4 14h6v6M10 14l-6.5 6.5" />
    </Svg>
  );
}

export function QrIcon() {
  return (
    <Svg>
      <rect x="4" y="4" width="6" height="6" rx="1" />
      <rect x="14" y="4" width="6" height="6" rx="1" />
      <rect x="4" y="14" width="6" height="6" rx="1" />
      <path d="M14 14h2.5v2.5M20 14v3M14 20h3M20 20v.1" />
    </Svg>
  );
}

/** The logo of the product: two people who meet on one board. */
export function Brand() {
  return (
    <svg className="brand-sign" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="9" fill="var(--accent)" />
      <path
        d="M7 20c3-9 6-9 9-3s6 6 9-4"
        fill="none"
        stroke="var(--on-accent)"
        strokeWidth="2.6"
        strokeLinecap="round"
      />
      <circle cx="7" cy="20" r="2.6" fill="var(--on-accent)" />
      <circle cx="25" cy="13" r="2.6" fill="var(--on-accent)" />
    </svg>
  );
}
