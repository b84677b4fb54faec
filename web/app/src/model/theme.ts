// Dark or light: as the system says, unless the user has chosen.
import { preferences, type ThemeChoice } from "./preferences";
import { Cell } from "./store";

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function resolve(choice: ThemeChoice): "light" | "dark" {
  if (choice !== "system") return choice;
  return prefersDark.matches ? "dark" : "light";
}

export interface Theme {
  choice: ThemeChoice;
  shown: "light" | "dark";
}

export const theme = new Cell<Theme>({ choice: preferences.theme, shown: resolve(preferences.theme) });

function show(choice: ThemeChoice): void {
  const shown = resolve(choice);
  document.documentElement.dataset.theme = shown;
  theme.set({ choice, shown });
}

export function chooseTheme(choice: ThemeChoice): void {
  preferences.theme = choice;
  show(choice);
}

export function startTheme(): void {
  show(preferences.theme);
  prefersDark.addEventListener("change", () => show(theme.get().choice));
}
