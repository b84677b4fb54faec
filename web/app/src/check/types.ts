/** The result of a test; "note" is for something worth knowing that is not a fault. */
export type Verdict = "running" | "ok" | "warning" | "failed" | "note";

export interface Row {
  id: string;
  what: string;
  verdict: Verdict;
  /** Milliseconds. */
  time?: number;
  details: string;
  /** What to open or configure. */
  advice?: string;
}

/** One URL of iceServers, parsed. */
export interface ServerUrl {
  url: string;
  kind: "stun" | "turn";
  transport: "udp" | "tcp" | "tls";
  host: string;
  port: number;
}

/** The data of `icecandidateerror`: a STUN error code, or 701 if no answer came. */
export interface CandidateError {
  code: number;
  text: string;
}

export interface Gathered {
  /** The addresses of the kind that was tested. */
  addresses: string[];
  /** Milliseconds from the start to the first address. */
  time?: number;
  /** Milliseconds from the start to the end of gathering, or to the moment when waiting was given up. */
  took: number;
  isComplete: boolean;
  errors: CandidateError[];
}

export interface Looped {
  /** The relayed address, as soon as there is one. */
  address?: string;
  /** Milliseconds from the start to the relayed address. */
  allocated?: number;
  /** Milliseconds from the start to the first message that arrived. */
  connected?: number;
  /** Milliseconds there and back. */
  roundTrip?: number;
  errors: CandidateError[];
}
