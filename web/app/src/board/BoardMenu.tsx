// The board's own menu and welcome screen, instead of those of Excalidraw, which lead to other hosts.

import { MainMenu, WelcomeScreen } from "@excalidraw/excalidraw";

const fileIcon = (
  <svg
    viewBox="0 0 20 20"
    fill="none"
    stroke="currentColor"
    strokeWidth="1.25"
    strokeLinejoin="round"
    aria-hidden="true"
  >
    <path d="M5 2.5h6l4 4v11H5zM11 2.5v4h4M10 9.5v5M7.5 12h5" />
  </svg>
);

export function BoardMenu({ onOpen, readOnly }: { onOpen: () => void; readOnly: boolean }) {
  return (
    <MainMenu>
      {readOnly ? null : (
        <MainMenu.Item icon={fileIcon} onSelect={onOpen}>
          Add from file…
        </MainMenu.Item>
      )}
      <MainMenu.DefaultItems.Export />
      <MainMenu.DefaultItems.SaveAsImage />
      <MainMenu.DefaultItems.SearchMenu />
      <MainMenu.DefaultItems.Help />
      {readOnly ? null : <MainMenu.DefaultItems.ClearCanvas />}
    </MainMenu>
  );
}

export function BoardWelcome() {
  return (
    <WelcomeScreen>
      <WelcomeScreen.Hints.ToolbarHint>Choose a tool and draw</WelcomeScreen.Hints.ToolbarHint>
      <WelcomeScreen.Hints.MenuHint>Save as a file or an image</WelcomeScreen.Hints.MenuHint>
      <WelcomeScreen.Center>
        <WelcomeScreen.Center.Heading>Everybody in the room draws here</WelcomeScreen.Center.Heading>
      </WelcomeScreen.Center>
    </WelcomeScreen>
  );
}
