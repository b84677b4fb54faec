import { type FormEvent, useEffect, useState } from "react";
import { BASE_PATH } from "../logic/base_path";
import { nameProblem } from "../logic/names";
import { randomRoomName, roomNameOf, roomNameProblem, roomPath } from "../logic/room_name";
import { preferences } from "../model/preferences";
import { Brand } from "./icons";
import { keepForInputMethod } from "./keys";
import { NameInput } from "./NameField";
import { ThemeChoices } from "./Settings";

export function Lobby() {
  const [room, setRoom] = useState("");
  const [name, setName] = useState(preferences.name);
  const [recent, setRecent] = useState(preferences.recentRooms);

  useEffect(() => {
    document.title = "bimcc-rtc";
  }, []);

  const typed = roomNameOf(room);
  const problem = typed ? roomNameProblem(typed) : undefined;

  const go = (event: FormEvent) => {
    event.preventDefault();
    const wanted = typed || randomRoomName();
    if (roomNameProblem(wanted) || nameProblem(name)) return;
    preferences.name = name.trim();
    location.assign(roomPath(wanted) + location.search);
  };

  return (
    <main className="lobby">
      <header>
        <Brand />
        <h1>bimcc-rtc</h1>
      </header>
      <p className="lead">Draw on one board, talk, and share files with the people you send a link.</p>
      <form id="lobby-form" onSubmit={go} onKeyDown={keepForInputMethod}>
        <div className="field">
          <label htmlFor="room-name">Room</label>
          <input
            id="room-name"
            value={room}
            autoComplete="off"
            autoCapitalize="off"
            spellCheck={false}
            dir="auto"
            placeholder="a new room"
            aria-describedby="room-hint"
            aria-invalid={problem !== undefined}
            onChange={(event) => setRoom(event.target.value)}
          />
          <p className={problem ? "problem" : "hint"} id="room-hint" role={problem ? "alert" : undefined}>
            {problem ??
              "Leave it empty to get a room with a name that nobody guesses. Whoever knows the name can come in."}
          </p>
        </div>
        <NameInput id="lobby-name" value={name} onChange={setName} />
        <button type="submit" className="button primary wide">
          {room.trim() ? "Go to the room" : "Open a new room"}
        </button>
      </form>
      {recent.length > 0 && (
        <section className="recent" aria-labelledby="recent-title">
          <h2 id="recent-title">Rooms you were in</h2>
          <ul>
            {recent.map((each) => (
              <li key={each}>
                <a href={roomPath(each)}>
                  <bdi>{each}</bdi>
                </a>
              </li>
            ))}
          </ul>
          <button
            type="button"
            className="button small"
            onClick={() => {
              preferences.forgetRooms();
              setRecent([]);
            }}
          >
            Forget them
          </button>
        </section>
      )}
      <footer>
        <ThemeChoices />
        <a href={`${BASE_PATH}check`}>Does it work from here? Test the connection</a>
      </footer>
    </main>
  );
}
