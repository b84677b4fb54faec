// Tests what peer connections of this browser get from a single server URL.
import type { CandidateError, Gathered, Looped } from "./types";

/** Browsers give up a server after about 10 seconds. */
const GATHERING_PATIENCE = 12_000;
/** From the relayed address to the first message. */
const CONNECTING_PATIENCE = 10_000;
/** How long to wait for an address of the other family after the first one. */
const OTHER_FAMILY_PATIENCE = 1_000;
const PINGS = 9;

/** Asks a STUN server for this browser's addresses. */
export async function gatherReflexive(server: RTCIceServer): Promise<Gathered> {
  const start = performance.now();
  const connection = new RTCPeerConnection({ iceServers: [server] });
  const gathered: Gathered = { addresses: [], took: 0, isComplete: false, errors: collectErrors(connection) };
  try {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, GATHERING_PATIENCE);
      const finish = (isComplete: boolean) => {
        gathered.isComplete ||= isComplete;
        clearTimeout(timer);
        resolve();
      };
      connection.onicecandidate = ({ candidate }) => {
        if (candidate?.type !== "srflx" || !candidate.address) return;
        if (gathered.time === undefined) {
          gathered.time = performance.now() - start;
          setTimeout(finish, OTHER_FAMILY_PATIENCE, false);
        }
        if (!gathered.addresses.includes(candidate.address)) gathered.addresses.push(candidate.address);
      };
      connection.onicegatheringstatechange = () => {
        if (connection.iceGatheringState === "complete") finish(true);
      };
      connection.createDataChannel("check");
      connection.setLocalDescription().catch(() => finish(false));
    });
  } finally {
    connection.close();
  }
  gathered.took = performance.now() - start;
  return gathered;
}

/** Connects two peer connections of this page through the relay, both ends relayed, and sends messages around. */
export async function loopThroughRelay(server: RTCIceServer): Promise<Looped> {
  const start = performance.now();
  const configuration: RTCConfiguration = { iceServers: [server], iceTransportPolicy: "relay" };
  const near = new RTCPeerConnection(configuration);
  const far = new RTCPeerConnection(configuration);
  const looped: Looped = { errors: collectErrors(near) };
  try {
    const channel = near.createDataChannel("check");
    const relayed = new Promise<boolean>((resolve) => {
      near.onicecandidate = ({ candidate }) => {
        if (!candidate?.candidate) return;
        if (looped.allocated === undefined) {
          looped.allocated = performance.now() - start;
          if (candidate.address) looped.address = candidate.address;
          resolve(true);
        }
        far.addIceCandidate(candidate).catch(ignore);
      };
      near.onicegatheringstatechange = () => {
        if (near.iceGatheringState === "complete") resolve(looped.allocated !== undefined);
      };
    });
    far.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) near.addIceCandidate(candidate).catch(ignore);
    };
    far.ondatachannel = ({ channel }) => {
      channel.onmessage = ({ data }) => channel.send(data);
    };
    // In this order, each side knows the other one before its candidates come.
    const offer = await near.createOffer();
    await far.setRemoteDescription(offer);
    await near.setLocalDescription(offer);
    const answer = await far.createAnswer();
    await near.setRemoteDescription(answer);
    await far.setLocalDescription(answer);

    if (!(await within(GATHERING_PATIENCE, relayed))) return looped;
    if (!(await within(CONNECTING_PATIENCE, opening(channel)))) return looped;
    const times = [];
    for (let i = 0; i < PINGS; i++) {
      const time = await within(CONNECTING_PATIENCE, ping(channel, String(i)));
      if (time === undefined) return looped;
      looped.connected ??= performance.now() - start;
      times.push(time);
    }
    const median = times.sort((a, b) => a - b)[PINGS >> 1];
    if (median !== undefined) looped.roundTrip = median;
    return looped;
  } finally {
    near.close();
    far.close();
  }
}

/** Returns a list that grows while the connection exists. */
function collectErrors(connection: RTCPeerConnection): CandidateError[] {
  const errors: CandidateError[] = [];
  connection.onicecandidateerror = ({ errorCode, errorText }) => {
    if (!errors.some(({ code }) => code === errorCode)) errors.push({ code: errorCode, text: errorText });
  };
  return errors;
}

function opening(channel: RTCDataChannel): Promise<true> {
  return new Promise((resolve) => {
    if (channel.readyState === "open") resolve(true);
    channel.onopen = () => resolve(true);
  });
}

function ping(channel: RTCDataChannel, text: string): Promise<number> {
  return new Promise((resolve) => {
    const start = performance.now();
    channel.onmessage = ({ data }) => {
      if (data === text) resolve(performance.now() - start);
    };
    channel.send(text);
  });
}

/** Resolves with undefined if the promise takes longer. */
function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  return Promise.race([
    promise,
    new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), milliseconds)),
  ]);
}

/** A candidate that the other side cannot use does not matter. */
function ignore(): void {}
