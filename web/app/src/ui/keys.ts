interface KeyPress {
  readonly key: string;
  readonly keyCode: number;
  readonly isComposing: boolean;
}

/**
 * Whether a key belongs to an input method, where Enter accepts characters and Escape discards them. Safari ends the
 * composition before it reports the key; there only the code 229 shows it.
 */
export function isForInputMethod({ isComposing, keyCode }: KeyPress): boolean {
  return isComposing || keyCode === 229;
}

export function isPlainKey(key: string, press: KeyPress): boolean {
  return press.key === key && !isForInputMethod(press);
}

/** For forms that the browser submits by itself when Enter is pressed in a field. */
export function keepForInputMethod(event: { nativeEvent: KeyPress; preventDefault(): void }): void {
  if (event.nativeEvent.key === "Enter" && isForInputMethod(event.nativeEvent)) event.preventDefault();
}
