import { hueOf, initials } from "../logic/names";

interface AvatarProps {
  id: string;
  name: string;
}

/** Represents a member without a picture. */
export function Avatar({ id, name }: AvatarProps) {
  return (
    <span className="avatar" style={{ "--hue": hueOf(id) } as React.CSSProperties} aria-hidden="true">
      {initials(name)}
    </span>
  );
}
