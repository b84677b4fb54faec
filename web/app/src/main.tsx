// The app's page: the lobby at `/`, a room at `/r/{room}`. Query: `?name=` the member's name, `?token=` for servers whose
// rooms need one, `?relay=1` media through relays only (for tests, and to see whether relays work).
import { joinRoom } from "bimcc-rtc";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { BASE_PATH } from "./logic/base_path";
import { roomInPath } from "./logic/room_name";
import { LocalMedia } from "./model/media";
import { Session } from "./model/session";
import { startTheme } from "./model/theme";
import "./styles/base.css";
import "./styles/pages.css";
import "./styles/room.css";
import "./styles/panels.css";

function sessionOf(room: string): Session {
  const query = new URLSearchParams(location.search);
  return new Session({
    room,
    joinRoom: (options) => joinRoom({ url: location.origin + BASE_PATH, ...options }),
    media: new LocalMedia(navigator.mediaDevices),
    relayOnly: query.get("relay") === "1",
    token: query.get("token") ?? undefined,
    name: query.get("name") ?? undefined,
  });
}

function start(root: Element): void {
  let session: Session | undefined;
  try {
    startTheme();
    const room = roomInPath(location.pathname);
    session = room === undefined ? undefined : sessionOf(room);
    const onUncaughtError = (error: unknown) => giveUp(root, session, error);
    createRoot(root, { onUncaughtError }).render(<App session={session} />);
  } catch (error) {
    giveUp(root, session, error);
  }
}

/**
 * Handles an error that nothing on the page could catch: leaves the room, so that camera and microphone do not stay on
 * behind an empty page.
 */
function giveUp(root: Element, session: Session | undefined, error: unknown): void {
  console.error(error);
  session?.leave();
  const words = document.createElement("p");
  words.className = "start";
  words.setAttribute("role", "alert");
  words.textContent =
    "This browser cannot show this page. Current versions of Chrome, Edge, Firefox and Safari can. You are in no room.";
  root.replaceChildren(words);
  document.body.dataset.state = "broken";
}

const root = document.getElementById("app");
if (root) start(root);
