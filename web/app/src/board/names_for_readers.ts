// Adds what screen readers need and Excalidraw lacks: names for controls without one, and names that contain the
// visible text.

/**
 * Does so now and whenever something changes, and returns a function that ends it. Excalidraw's dialogs are outside the
 * board's element.
 */
export function nameForReaders(root: HTMLElement = document.body): () => void {
  const look = () => {
    for (const board of root.querySelectorAll<HTMLElement>(".excalidraw")) nameWithin(board);
  };
  look();
  // Attributes are not observed, because those that are set here would be reported as changes.
  const observer = new MutationObserver(look);
  observer.observe(root, { childList: true, subtree: true, characterData: true });
  return () => observer.disconnect();
}

function nameWithin(board: HTMLElement): void {
  const each = (selector: string, name: (element: HTMLElement) => void) => {
    for (const element of board.querySelectorAll<HTMLElement>(selector)) name(element);
  };
  each(".main-menu-trigger:not([aria-label])", (button) => button.setAttribute("aria-label", "Menu of the board"));
  each("textarea.excalidraw-wysiwyg:not([aria-label])", (text) => text.setAttribute("aria-label", "Text on the board"));
  // Rows of colors and fonts are always there and do not block the rest of the page, so they are not modal dialogs.
  each(":is(.color-picker-container, .FontPicker__container)[role=dialog]", (row) => {
    row.setAttribute("role", "group");
    row.removeAttribute("aria-modal");
    row.setAttribute("aria-label", textOf(row.closest("fieldset")?.querySelector("legend")) || "Choices");
  });
  // This element only surrounds the real button.
  each("div[type=button][aria-expanded]", (trigger) => trigger.removeAttribute("aria-expanded"));
  each("[role=dialog][aria-labelledby]", (dialog) => {
    if (document.getElementById(dialog.getAttribute("aria-labelledby") ?? "")) return;
    dialog.removeAttribute("aria-labelledby");
    dialog.setAttribute("aria-label", textOf(dialog.querySelector("h1, h2, h3")) || "Board");
  });
  each(".RadioGroup__choice input:not([aria-label])", (choice) => {
    choice.setAttribute("aria-label", textOf(choice.parentElement));
  });
  each(".reset-zoom-button", (zoom) => zoom.setAttribute("aria-label", `${textOf(zoom)}, reset zoom`));
  // A name must contain the visible text, so that people can say it to select the control.
  each(":is(.dropdown-menu-item, .ExcButton)[aria-label]", (button) => {
    if (!button.getAttribute("aria-label")?.includes(textOf(button))) button.removeAttribute("aria-label");
  });
}

function textOf(element: Element | null | undefined): string {
  return element?.textContent?.trim() ?? "";
}
