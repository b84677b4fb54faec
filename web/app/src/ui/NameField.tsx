import { type InputHTMLAttributes, type Ref, useEffect, useState } from "react";
import { LONGEST_NAME } from "../logic/names";
import type { Session } from "../model/session";
import { useSource } from "../model/store";
import { isPlainKey } from "./keys";

interface NameInputProps extends Omit<InputHTMLAttributes<HTMLInputElement>, "onChange"> {
  id: string;
  value: string;
  onChange: (name: string) => void;
  ref?: Ref<HTMLInputElement>;
}

/** Where one types one's own name. */
export function NameInput({ onChange, ...props }: NameInputProps) {
  return (
    <div className="field">
      <label htmlFor={props.id}>Your name</label>
      <input
        {...props}
        maxLength={LONGEST_NAME}
        autoComplete="nickname"
        placeholder="guest"
        onChange={(event) => onChange(event.target.value)}
      />
    </div>
  );
}

/** One's own name; others see it once the field is left or Enter is pressed. */
export function NameField({ session, id }: { session: Session; id: string }) {
  const name = useSource(session.name);
  const [typed, setTyped] = useState(name);
  useEffect(() => setTyped(name), [name]);
  const commit = () => {
    const clean = typed.trim();
    setTyped(clean);
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
