import { useMemo } from "react";
import { encode } from "uqr";
import { qrPath } from "../logic/qr_path";

/** The light border of four modules, without which many cameras do not find the code. */
const QUIET_ZONE = 4;

interface QrCodeProps {
  text: string;
}

/** The code is dark on white even on dark pages, because cameras expect that. */
export function QrCode({ text }: QrCodeProps) {
  const code = useMemo(() => {
    try {
      const { data, size } = encode(text, { ecc: "M", border: QUIET_ZONE });
      return { path: qrPath(data), size };
    } catch {
      return undefined; // The text is too long for any code.
    }
  }, [text]);
  if (!code) return null;
  return (
    <svg
      className="qr"
      viewBox={`0 0 ${code.size} ${code.size}`}
      role="img"
      aria-label="QR code with the link to this room"
    >
      <rect width={code.size} height={code.size} fill="#fff" />
      <path d={code.path} fill="#000" shapeRendering="crispEdges" />
    </svg>
  );
}
