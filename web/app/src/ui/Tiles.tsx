import { type Person, pathInWords } from "../model/people";
import type { Session, Visit } from "../model/session";
import { useSource } from "../model/store";
import { VideoTile } from "./VideoTile";

interface TilesProps {
  session: Session;
  visit: Visit;
}

/** The strip of everybody's pictures, screens first. It is absent while there is nothing and nobody to show. */
export function Tiles({ session, visit }: TilesProps) {
  const people = useSource(visit.people.list);
  const media = useSource(session.media.state);
  const name = useSource(session.name);
  const enlarge = (id: string) => session.large.set(id);
  const { screenStream, stream } = session.media;
  if (people.length === 0 && media.camera !== "on" && media.screen !== "on") return null;
  return (
    <ul className="tiles" id="tiles" aria-label="People">
      {people.flatMap((person) =>
        person.streams
          .filter(({ kind }) => kind === "screen")
          .map((screen) => (
            <VideoTile
              key={`${person.id} ${screen.id}`}
              id={person.id}
              name={person.name}
              stream={screen.stream}
              kind="screen"
              onEnlarge={enlarge}
            />
          )),
      )}
      {screenStream && media.screen === "on" && (
        <VideoTile
          id={visit.room.id}
          name={name || "You"}
          label="Your screen"
          stream={screenStream}
          kind="screen"
          own
          onEnlarge={enlarge}
        />
      )}
      {people.map((person) => (
        <CameraTile key={person.id} person={person} onEnlarge={enlarge} />
      ))}
      <VideoTile
        id={visit.room.id}
        name={name || "You"}
        label={name ? `${name} (you)` : "You"}
        stream={media.camera === "on" ? stream : undefined}
        kind="camera"
        own
        facesAway={media.facing === "environment"}
        muted={media.microphone !== "on"}
        onEnlarge={enlarge}
      />
    </ul>
  );
}

function CameraTile({ person, onEnlarge }: { person: Person; onEnlarge: (id: string) => void }) {
  const camera = person.streams.find(({ kind }) => kind === "camera");
  return (
    <VideoTile
      id={person.id}
      name={person.name}
      stream={camera?.stream}
      kind="camera"
      muted={person.presence ? !person.presence.microphone : false}
      cameraOff={person.presence ? !person.presence.camera : false}
      path={pathInWords(person)}
      trouble={person.state !== "connected"}
      onEnlarge={onEnlarge}
    />
  );
}
