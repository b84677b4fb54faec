// People's colours come from their ids, so every hue must be legible: WCAG 2.2 asks for a contrast of 4.5.
import { expect, test } from "vitest";
import base from "../src/styles/base.css?raw";
import panels from "../src/styles/panels.css?raw";

type Rgb = [number, number, number];

function fromHsl(hue: number, saturation: number, lightness: number): Rgb {
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    return lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  };
  return [channel(0), channel(8), channel(4)];
}

function fromHex(text: string): Rgb {
  return [1, 3, 5].map((at) => Number.parseInt(text.slice(at, at + 2), 16) / 255) as Rgb;
}

/** WCAG's relative luminance. */
function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)) as Rgb;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: Rgb, other: Rgb): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

/** The least contrast of any hue, given CSS such as `hsl(var(--hue) 60% 27%)`. */
function least(css: string, background: Rgb): number {
  const [, saturation, lightness] = /hsl\(var\(--hue\) (\d+)% (\d+)%\)/.exec(css) ?? [];
  const hues = Array.from({ length: 360 }, (_, hue) => hue);
  return Math.min(
    ...hues.map((hue) => contrast(fromHsl(hue, Number(saturation) / 100, Number(lightness) / 100), background)),
  );
}

test("names in the chat are legible in every hue, light and dark", () => {
  const [, light, dark] = /color: light-dark\((hsl\(.*?%\)), (hsl\(.*?%\))\)/.exec(panels) ?? [];
  for (const surface of ["--back", "--panel", "--raised"]) {
    const [, bright, dim] = new RegExp(`${surface}: light-dark\\((#\\w+), (#\\w+)\\)`).exec(base) ?? [];
    expect(least(String(light), fromHex(String(bright))), `${surface}, light`).toBeGreaterThanOrEqual(4.5);
    expect(least(String(dark), fromHex(String(dim))), `${surface}, dark`).toBeGreaterThanOrEqual(4.5);
  }
});

test("initials are legible on every hue", () => {
  const [, background] = /background: (hsl\(var\(--hue\).*?%\))/.exec(base) ?? [];
  expect(least(String(background), [1, 1, 1])).toBeGreaterThanOrEqual(4.5);
});
