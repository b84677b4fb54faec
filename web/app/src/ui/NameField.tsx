import { type InputHTMLAttributes, type Ref, useEffect, useState } from "react";
import { nameNote, nameProblem } from "../logic/names";
import type { Session } from "../model/session";
import { useSource } from "../model/store";
import { isPlainKey } from "./keys";

interface NameInputProps extends Omit<InputHTMLAttributes<HTMLInputElement>, "onChange"> {
  id: string;
  value: string;
  onChange: (name: string) => void;
  ref?: Ref<HTMLInputElement>;
}

/** The field for the user's own name. A name that is too long stays as it is, and a text says so. */
export function NameInput({ onChange, ...props }: NameInputProps) {
  const problem = nameProblem(props.value);
  const note = problem ?? nameNote(props.value);
  const noteId = `${props.id}-note`;
  return (
    <div className="field">
      <label htmlFor={props.id}>Your name</label>
      <input
        {...props}
        autoComplete="nickname"
        placeholder="guest"
        aria-invalid={problem !== undefined}
        aria-describedby={note && noteId}
        onChange={(event) => onChange(event.target.value)}
      />
      {note && (
        <p className={problem ? "problem" : "hint"} id={noteId} role={problem ? "alert" : "status"}>
          {note}
        </p>
      )}
    </div>
  );
}

/** The user's own name. Others see it once the user leaves the field or presses Enter. */
export function NameField({ session, id }: { session: Session; id: string }) {
  const name = useSource(session.name);
  const [typed, setTyped] = useState(name);
  useEffect(() => setTyped(name), [name]);
  const commit = () => {
    const clean = typed.trim();
    setTyped(clean);
    if (nameProblem(clean)) return;
    if (clean !== session.name.get()) session.rename(clean);
  };
  return (
    <NameInput
      id={id}
      value={typed}
      onChange={setTyped}
      onBlur={commit}
      onKeyDown={(event) => {
        if (isPlainKey("Enter", event.nativeEvent)) commit();
      }}
    />
  );
}
