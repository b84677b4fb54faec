interface KeyPress {
  readonly key: string;
  readonly keyCode: number;
  readonly isComposing: boolean;
}

/**
 * Whether a key belongs to an input method, which takes Enter for "these characters" and Escape for "not these". Safari ends
 * the composition before it tells of the key; there 229 is the only sign.
 */
export function isForInputMethod({ isComposing, keyCode }: KeyPress): boolean {
  return isComposing || keyCode === 229;
}

export function isPlainKey(key: string, press: KeyPress): boolean {
  return press.key === key && !isForInputMethod(press);
}

/** For forms that the browser sends by itself when Enter is pressed in a field. */
export function keepForInputMethod(event: { nativeEvent: KeyPress; preventDefault(): void }): void {
  if (event.nativeEvent.key === "Enter" && isForInputMethod(event.nativeEvent)) event.preventDefault();
}
