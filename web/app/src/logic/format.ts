// Numbers in words.

export function bytesInWords(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes < 0) return "unknown size";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A rate in bits per second. */
export function rateInWords(rate: number | undefined): string {
  if (rate === undefined) return "–";
  if (rate < 1000) return "0 kbit/s";
  if (rate < 1e6) return `${Math.round(rate / 1000)} kbit/s`;
  return `${(rate / 1e6).toFixed(rate < 1e7 ? 1 : 0)} Mbit/s`;
}

/** A time in seconds, shown in milliseconds, which people can compare better. */
export function roundTripInWords(seconds: number | undefined): string {
  if (seconds === undefined) return "–";
  const milliseconds = seconds * 1000;
  return milliseconds < 1 ? "< 1 ms" : `${Math.round(milliseconds)} ms`;
}

export function clockTime(milliseconds: number): string {
  return new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
