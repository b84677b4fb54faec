// The app's page: the lobby at `/`, a room at `/r/{room}`. Query: `?name=` the member's name, `?token=` for servers whose
// rooms need one, `?relay=1` media through relays only (for tests, and to see whether relays work).
import { joinRoom } from "bimcc-rtc";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { LONGEST_NAME } from "./logic/names";
import { roomInPath } from "./logic/room_name";
import { LocalMedia } from "./model/media";
import { Session } from "./model/session";
import { startTheme } from "./model/theme";
import "./styles/base.css";
import "./styles/pages.css";
import "./styles/room.css";
import "./styles/panels.css";

startTheme();

const room = roomInPath(location.pathname);
const query = new URLSearchParams(location.search);
const session =
  room === undefined
    ? undefined
    : new Session({
        room,
        joinRoom,
        media: new LocalMedia(navigator.mediaDevices),
        relayOnly: query.get("relay") === "1",
        token: query.get("token") ?? undefined,
        name: query.get("name")?.slice(0, LONGEST_NAME),
      });

const root = document.getElementById("app");
if (root) createRoot(root).render(<App session={session} />);
