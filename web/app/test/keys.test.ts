import { expect, it, vi } from "vitest";
import { isPlainKey, keepForInputMethod } from "../src/ui/keys";

const press = (key: string, keyCode: number, isComposing: boolean) => ({ key, keyCode, isComposing });

it.each([
  ["a plain Enter", press("Enter", 13, false), true],
  ["an input method's, in Chromium and Firefox", press("Enter", 229, true), false],
  ["an input method's, in Firefox of old", press("Enter", 13, true), false],
  ["the one that ends a composition, in Safari", press("Enter", 229, false), false],
])("Enter: %s", (_, key, isPlain) => {
  expect(isPlainKey("Enter", key)).toBe(isPlain);
  const preventDefault = vi.fn();
  keepForInputMethod({ nativeEvent: key, preventDefault });
  expect(preventDefault).toHaveBeenCalledTimes(isPlain ? 0 : 1);
});

it("another key is another key, also in a form", () => {
  expect(isPlainKey("Escape", press("Enter", 13, false))).toBe(false);
  expect(isPlainKey("Escape", press("Escape", 229, false))).toBe(false);
  const preventDefault = vi.fn();
  keepForInputMethod({ nativeEvent: press("a", 229, true), preventDefault });
  expect(preventDefault).not.toHaveBeenCalled();
});
