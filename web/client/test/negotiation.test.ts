import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Negotiation, type NegotiationOwner } from "../src/negotiation";
import type { SdkMarker } from "../src/protocol";
import { FakeConnection } from "./fake_connection";
import { seeded } from "./random";

type Wire =
  | { kind: "description"; sdp: RTCSessionDescriptionInit; offer: number | undefined }
  | { kind: "candidate"; candidate: RTCIceCandidateInit };

interface World {
  random: () => number;
  /** Share of messages that get lost. */
  loss: number;
  errors: unknown[];
}

class Side {
  connection: FakeConnection;
  negotiation: Negotiation;
  readonly sent: Wire[] = [];
  inbox: Wire[] = [];
  /** How often it had to begin anew. */
  strangers = 0;
  isReachable = true;
  other: Side | undefined;
  marks = true;

  constructor(name: string, polite: boolean, waits: boolean, world: World) {
    const pause = async () => {
      for (let steps = world.random() * 4; steps > 1; steps--) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const send = (message: Wire) => {
      this.sent.push(message);
      if (this.isReachable && world.random() >= world.loss) this.other?.inbox.push(message);
    };
    const owner: NegotiationOwner = {
      log: () => {},
      isReachable: () => this.isReachable,
      sendDescription: (type, sdp, offer) => send({ kind: "description", sdp: { type, sdp }, offer }),
      sendCandidate: (candidate) => send({ kind: "candidate", candidate }),
      handleStranger: (description, marker) => {
        this.strangers += 1;
        this.negotiation.close();
        const { isFirefox } = this.connection;
        this.connection = new FakeConnection(`${name}${"'".repeat(this.strangers)}`, pause, this.connection.wishes);
        this.connection.isFirefox = isFirefox;
        this.negotiation = new Negotiation(this.connection, owner, polite, false);
        if (description.type === "offer") this.negotiation.handleDescription(description, marker);
      },
      handleBadDescription: (error) => world.errors.push(error),
    };
    this.connection = new FakeConnection(name, pause);
    this.negotiation = new Negotiation(this.connection, owner, polite, waits);
  }

  /** Takes the next message from the wire. */
  receive(): boolean {
    const message = this.inbox.shift();
    if (message?.kind === "candidate") this.negotiation.handleCandidate(message.candidate);
    if (message?.kind === "description") {
      const marker: SdkMarker = { v: 1, streams: {}, ...(message.offer !== undefined && { offer: message.offer }) };
      this.negotiation.handleDescription(message.sdp, this.other?.marks ? marker : undefined);
    }
    return message !== undefined;
  }

  get offers(): number {
    return this.sent.filter((message) => message.kind === "description" && message.sdp.type === "offer").length;
  }
}

function twoSides(seed: number, { loss = 0, waits = false } = {}): [Side, Side, World] {
  const world: World = { random: seeded(seed), loss, errors: [] };
  const a = new Side("a", true, waits, world);
  const b = new Side("b", false, false, world);
  a.other = b;
  b.other = a;
  return [a, b, world];
}

/** Lets time pass and messages arrive in an order of the seed's. */
async function settle(sides: Side[], random: () => number, rounds = 200): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const side of sides) if (random() < 0.5) side.receive();
    await vi.advanceTimersByTimeAsync(random() < 0.5 ? 0 : 2);
  }
  while (sides.some((side) => side.receive())) await vi.advanceTimersByTimeAsync(10);
  await vi.advanceTimersByTimeAsync(10);
}

function expectAgreed(a: Side, b: Side, wishes: [number, number], context: string): void {
  expect([a.connection.signalingState, b.connection.signalingState], context).toEqual(["stable", "stable"]);
  expect(a.connection.agreed, context).toEqual({ mine: wishes[0], theirs: wishes[1] });
  expect(b.connection.agreed, context).toEqual({ mine: wishes[1], theirs: wishes[0] });
}

describe("Negotiation", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("agrees whoever wants something when, in 300 seeded orders with glare", async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const [a, b, { random, errors }] = twoSides(seed);
      // One of them, or none.
      a.connection.isFirefox = seed % 3 === 0;
      b.connection.isFirefox = seed % 3 === 1;
      const wishes: [number, number] = [0, 0];
      for (let burst = 0; burst < 4; burst++) {
        for (const [i, side] of [a, b].entries()) {
          if (random() < 0.3) continue;
          side.connection.want();
          wishes[i as 0 | 1] += 1;
        }
        await settle([a, b], random, Math.floor(random() * 30));
      }
      await settle([a, b], random);
      expect(errors, `seed ${seed}`).toEqual([]);
      expectAgreed(a, b, wishes, `seed ${seed}`);
    }
  });

  it("has the impolite side's offer win, and the polite side's wish come with the answer", async () => {
    const [a, b, { random }] = twoSides(7);
    a.connection.want();
    await settle([a, b], random);
    a.connection.want();
    b.connection.want();
    await vi.advanceTimersByTimeAsync(20);
    expect([a.offers, b.offers]).toEqual([2, 1]);
    expect(a.connection.signalingState, "nothing that would have to be rolled back").toBe("stable");
    await settle([a, b], random);
    expectAgreed(a, b, [2, 1], "glare");
    expect([a.offers, b.offers]).toEqual([2, 1]);
    expect(a.strangers + b.strangers).toBe(0);
    expect(b.connection.addedCandidates, "none of the ignored offer a2").toEqual(["a1", "a3"]);
  });

  it("applies an offer with its answer only, so that new addresses never meet the other side's old ones", async () => {
    const [a, b, { random }] = twoSides(12);
    a.connection.want();
    await settle([a, b], random);
    for (const [i, side] of [a, b].entries()) {
      const before = side.connection.localDescription;
      side.connection.want();
      await vi.advanceTimersByTimeAsync(3_000);
      // Asked for while the answer is awaited: it comes after it, and the first one is not said twice.
      side.connection.want();
      await vi.advanceTimersByTimeAsync(20);
      expect(side.offers).toBe(i === 0 ? 2 : 1);
      expect(side.connection.localDescription).toBe(before);
      expect(side.sent.at(-1)?.kind, "no candidates yet").toBe("description");
      await settle([a, b], random);
      expect(side.offers).toBe(i === 0 ? 3 : 2);
    }
    expectAgreed(a, b, [3, 2], "at the end");
  });

  it("has the polite side begin anew when it is the first offers that collide", async () => {
    const [a, b, { random }] = twoSides(7);
    a.connection.want();
    b.connection.want();
    await vi.advanceTimersByTimeAsync(20);
    await settle([a, b], random);
    expectAgreed(a, b, [1, 1], "glare");
    expect([a.strangers, b.strangers]).toEqual([1, 0]);
    expect(b.connection.addedCandidates, "none of the ignored offer a1").toEqual(["a'1"]);
  });

  it("gets there although one message in three is lost, by repeating offers", async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const [a, b, world] = twoSides(seed, { loss: 0.33 });
      a.connection.want();
      b.connection.want();
      for (let minute = 0; minute < 6; minute++) {
        await settle([a, b], world.random, 20);
        await vi.advanceTimersByTimeAsync(60_000);
      }
      world.loss = 0;
      await vi.advanceTimersByTimeAsync(60_000);
      await settle([a, b], world.random);
      expect(world.errors, `seed ${seed}`).toEqual([]);
      expectAgreed(a, b, [1, 1], `seed ${seed}`);
      a.negotiation.close();
      b.negotiation.close();
    }
  });

  it("repeats a lost offer at once when the polite side's offer shows that it is lost", async () => {
    const [a, b, world] = twoSides(3);
    world.loss = 1;
    b.connection.want();
    await vi.advanceTimersByTimeAsync(2_000);
    world.loss = 0;
    a.connection.want();
    await settle([a, b], world.random, 40);
    expectAgreed(a, b, [1, 1], "after the collision");
    expect(b.offers).toBe(2);
  });

  it("takes no answer for another offer than the last", async () => {
    const [a, b, world] = twoSides(4);
    a.connection.want();
    await settle([a, b], world.random);
    const stale = b.sent.find((message) => message.kind === "description");
    a.connection.want();
    await vi.advanceTimersByTimeAsync(20);
    if (stale) a.inbox.unshift(stale);
    a.receive();
    await vi.advanceTimersByTimeAsync(20);
    expect(a.connection.agreed).toEqual({ mine: 1, theirs: 0 });
    await settle([a, b], world.random);
    expectAgreed(a, b, [2, 0], "with the right answer");
  });

  it("makes another offer when the browser does not take the one that was answered", async () => {
    const [a, b, world] = twoSides(11);
    a.connection.want();
    await settle([a, b], world.random);
    a.connection.want();
    await vi.advanceTimersByTimeAsync(20);
    await Promise.all([a.connection.createOffer(), vi.advanceTimersByTimeAsync(20)]);
    await settle([a, b], world.random);
    expect(world.errors.map((error) => (error as Error).name)).toEqual(["InvalidModificationError"]);
    await vi.advanceTimersByTimeAsync(10_000);
    await settle([a, b], world.random);
    expectAgreed(a, b, [2, 0], "with another offer");
  });

  it("waits for the newcomer's offer, and answers with what it wanted itself", async () => {
    const [a, b, world] = twoSides(5, { waits: true });
    a.connection.want();
    await settle([a, b], world.random);
    expect(a.sent).toEqual([]);
    b.connection.want();
    await settle([a, b], world.random);
    expectAgreed(a, b, [1, 1], "one offer");
    expect([a.offers, b.offers]).toEqual([0, 1]);
  });

  it("says nothing while the server is away, and what is to be said afterwards", async () => {
    const [a, b, world] = twoSides(6);
    a.isReachable = false;
    a.connection.want();
    await settle([a, b], world.random);
    expect(a.connection.signalingState, "no ICE restart either before it has joined").toBe("stable");
    a.isReachable = true;
    a.negotiation.resync();
    await settle([a, b], world.random);
    expectAgreed(a, b, [1, 0], "afterwards");
  });

  it("keeps candidates until the description is there, but not endlessly many", async () => {
    const [a, b, world] = twoSides(8);
    for (let i = 0; i < 10_000; i++) b.negotiation.handleCandidate({ candidate: `early${i}` });
    a.connection.want();
    await settle([a, b], world.random);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(b.connection.addedCandidates.slice(0, 2)).toEqual(["early0", "early1"]);
    expect(b.connection.addedCandidates.length).toBe(256 + 1);
  });

  it("gives way to a client that does not know how to, whoever is polite", async () => {
    const [a, b, world] = twoSides(9);
    a.marks = false;
    b.connection.mayRollBack = true;
    b.connection.want();
    await vi.advanceTimersByTimeAsync(20);
    a.inbox = [];
    a.connection.want();
    await settle([a, b], world.random);
    expect([a.connection.signalingState, b.connection.signalingState]).toEqual(["stable", "stable"]);
    expect(b.connection.agreed).toEqual({ mine: 1, theirs: 1 });
    expect(b.strangers, "it knows of one connection").toBe(0);
  });

  it("recognises that the other side has begun anew", async () => {
    const [a, b, world] = twoSides(10);
    a.connection.want();
    await settle([a, b], world.random);
    const before = b.connection;
    b.negotiation.handleDescription({ type: "offer", sdp: "a=fingerprint:sha-256 other\r\n" }, { v: 1, streams: {} });
    await settle([a, b], world.random);
    expect(b.strangers).toBe(1);
    expect(before.agreed, "nothing has changed").toEqual({ mine: 0, theirs: 1 });
  });
});

it("asks again when the browser has failed to make an offer, and at once when the server is back", async () => {
  vi.useFakeTimers();
  const world: World = { random: () => 0, loss: 0, errors: [] };
  for (const polite of [false, true]) {
    const side = new Side("a", polite, false, world);
    const { connection, negotiation } = side;
    // Offers are made in another way once there is a description of the other.
    if (polite) connection.remoteDescription = { type: "answer", sdp: "v=0" } as RTCSessionDescription;
    const { setLocalDescription, createOffer } = connection;
    const fail = () => Promise.reject(new DOMException("not now", "OperationError"));
    connection.setLocalDescription = connection.createOffer = fail;
    connection.want();
    await vi.advanceTimersByTimeAsync(10);
    expect([side.sent, world.errors.length]).toEqual([[], polite ? 2 : 1]);
    Object.assign(connection, { setLocalDescription, createOffer });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(side.sent.filter(({ kind }) => kind === "description")).toHaveLength(1);
    negotiation.close();
  }
  vi.useRealTimers();
});
