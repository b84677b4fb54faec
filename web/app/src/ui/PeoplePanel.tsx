import { clockTime, rateInWords, roundTripInWords } from "../logic/format";
import { type Person, pathInWords } from "../model/people";
import type { Session, Visit } from "../model/session";
import { useSource } from "../model/store";
import { Avatar } from "./Avatar";
import { Boundary, Broken } from "./Boundary";
import { CameraOffIcon, MicrophoneOffIcon } from "./icons";
import { NameField } from "./NameField";
import { Sparkline } from "./Sparkline";

interface PeoplePanelProps {
  session: Session;
  visit: Visit;
}

export function PeoplePanel({ session, visit }: PeoplePanelProps) {
  const people = useSource(visit.people.list);
  const problems = useSource(session.notices.problems);
  return (
    <div className="people">
      <NameField session={session} id="name" />
      {people.length === 0 ? (
        <p className="hint">Nobody else is here yet.</p>
      ) : (
        <ul className="people-list" aria-label="The others">
          {people.map((person) => (
            <Boundary
              key={person.id}
              what={person.name}
              instead={(retry) => <BrokenRow person={person} onRetry={retry} />}
            >
              <PersonRow person={person} />
            </Boundary>
          ))}
        </ul>
      )}
      {people.length > 0 && (
        <p className="hint legend">
          <span className="key receive" /> what comes, <span className="key send" /> what goes, over the last minutes.
          “Direct” means that nothing is between you; “relayed” goes through this server, encrypted.
        </p>
      )}
      {problems.length > 0 && (
        <details className="problems">
          <summary>What went wrong ({problems.length})</summary>
          <ul>
            {problems.map(({ id, who, reason, times, latest }) => (
              <li key={id}>
                {who && <bdi className="who">{who}</bdi>} {reason}
                {times > 1 && ` (${times} times)`} <time>{clockTime(latest)}</time>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

function BrokenRow({ person, onRetry }: { person: Person; onRetry: () => void }) {
  return (
    <li className="person" data-peer={person.id}>
      <Broken what={`The line about ${person.name}`} onRetry={onRetry} />
    </li>
  );
}

function PersonRow({ person }: { person: Person }) {
  const { stats, presence, rates } = person;
  const latest = rates.at(-1);
  return (
    <li className="person" data-peer={person.id}>
      <Avatar id={person.id} name={person.name} />
      <div className="who">
        <bdi className="name" title={person.name}>
          {person.name}
        </bdi>
        <span className="path" data-state={person.state} data-path={stats?.path}>
          {pathInWords(person)}
        </span>
      </div>
      <div className="devices">
        {presence && !presence.microphone && (
          <span role="img" aria-label="microphone off" title="Microphone off">
            <MicrophoneOffIcon />
          </span>
        )}
        {presence && !presence.camera && (
          <span role="img" aria-label="camera off" title="Camera off">
            <CameraOffIcon />
          </span>
        )}
      </div>
      {person.state === "connected" && (
        <div className="figures">
          <Sparkline rates={rates} />
          <dl>
            <div className="figure">
              <dt>Round trip</dt>
              <dd>{roundTripInWords(stats?.roundTripTime)}</dd>
            </div>
            <div className="figure">
              <dt>Receiving</dt>
              <dd>{rateInWords(latest?.receive)}</dd>
            </div>
            <div className="figure">
              <dt>Sending</dt>
              <dd>{rateInWords(latest?.send)}</dd>
            </div>
            {stats?.packetLoss !== undefined && stats.packetLoss >= 0.005 && (
              <div className="figure">
                <dt>Loss</dt>
                <dd>{(stats.packetLoss * 100).toFixed(1)} %</dd>
              </div>
            )}
          </dl>
        </div>
      )}
    </li>
  );
}
