/** How a test ended; "note" is for what is worth knowing and no fault. */
export type Verdict = "running" | "ok" | "warning" | "failed" | "note";

export interface Row {
  id: string;
  what: string;
  verdict: Verdict;
  /** Milliseconds. */
  time?: number;
  details: string;
  /** What to open or set. */
  advice?: string;
}

/** One URL of iceServers, taken apart. */
export interface ServerUrl {
  url: string;
  kind: "stun" | "turn";
  transport: "udp" | "tcp" | "tls";
  host: string;
  port: number;
}

/** What `icecandidateerror` says: a STUN error code, or 701 where no answer came. */
export interface CandidateError {
  code: number;
  text: string;
}

export interface Gathered {
  /** Of the kind that was looked for. */
  addresses: string[];
  /** From the start to the first address. */
  time?: number;
  /** From the start to the end of gathering, or to the moment when waiting was given up. */
  took: number;
  isComplete: boolean;
  errors: CandidateError[];
}

export interface Looped {
  /** The relayed address, as soon as there is one. */
  address?: string;
  /** From the start to the relayed address. */
  allocated?: number;
  /** From the start to the first message that has come through. */
  connected?: number;
  /** There and back again. */
  roundTrip?: number;
  errors: CandidateError[];
}
