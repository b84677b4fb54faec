// What screen readers need and Excalidraw leaves out: names of what has none, and names that say what is written there.

/** Puts it right now and whenever something changes; returns what ends that. Excalidraw's dialogs lie beside the board. */
export function nameForReaders(root: HTMLElement = document.body): () => void {
  const look = () => {
    for (const board of root.querySelectorAll<HTMLElement>(".excalidraw")) nameWithin(board);
  };
  look();
  // Attributes are not looked at: those that are set here would come back as changes.
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
  // Rows of colors and fonts are always there and keep nobody from the rest of the page, so they are no modal dialogs.
  each(":is(.color-picker-container, .FontPicker__container)[role=dialog]", (row) => {
    row.setAttribute("role", "group");
    row.removeAttribute("aria-modal");
    row.setAttribute("aria-label", textOf(row.closest("fieldset")?.querySelector("legend")) || "Choices");
  });
  // Around the button that really is one.
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
  // A name has to have in it what is written there, so that one can say it.
  each(":is(.dropdown-menu-item, .ExcButton)[aria-label]", (button) => {
    if (!button.getAttribute("aria-label")?.includes(textOf(button))) button.removeAttribute("aria-label");
  });
}

function textOf(element: Element | null | undefined): string {
  return element?.textContent?.trim() ?? "";
}
