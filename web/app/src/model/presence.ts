// What members tell each other about themselves in their metadata. Anybody can write anything there.

export interface Presence {
  microphone: boolean;
  camera: boolean;
}

export function presenceToMetadata({ microphone, camera }: Presence): unknown {
  return { microphone, camera };
}

/** Undefined for members that use the room with another program. */
export function presenceFromMetadata(metadata: unknown): Presence | undefined {
  if (typeof metadata !== "object" || metadata === null) return undefined;
  const { microphone, camera } = metadata as Record<string, unknown>;
  if (typeof microphone !== "boolean" || typeof camera !== "boolean") return undefined;
  return { microphone, camera };
}
