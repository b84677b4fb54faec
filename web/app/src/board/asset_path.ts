// Tells Excalidraw where its fonts are. Must be imported before Excalidraw, which reads this while it is loaded.

import { BASE_PATH } from "../logic/base_path";

declare global {
  interface Window {
    EXCALIDRAW_ASSET_PATH?: string | string[];
  }
}

// Filled in by vite/board_assets.ts, with the version, so that the files may be cached for ever.
declare const __BOARD_ASSETS__: string;

window.EXCALIDRAW_ASSET_PATH = BASE_PATH + __BOARD_ASSETS__;
