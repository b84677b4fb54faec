// Rooms with the built SDK in real browsers: messages, streams, and what happens when server, network or peers go away.
import assert from "node:assert/strict";
import { test } from "node:test";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 180_000;
const LONG = process.env.BIMCC_RTC_LONG === "1";

async function join(page, server, options = {}, room = "a room") {
  await page.until(() => window.member);
  return page.run((...args) => window.member.join(...args), server.wsUrl(), room, options);
}

/** Waits until the page is connected with this many peers. */
function connected(page, count) {
  return page.until(
    (n) => {
      const states = window.member.states();
      return states.length === n && states.every((state) => state === "connected");
    },
    count,
  );
}

/** Two connected members, each in its own browser. */
async function pair(t, kinds, { serve = {}, ...options } = {}) {
  const host = await (await setStage(t)).host();
  const server = await host.serve(serve);
  const pages = [];
  for (const kind of kinds) pages.push(await (await host.browse(kind)).open("sdk.html"));
  const ids = [];
  for (const page of pages) ids.push(await join(page, server, options));
  for (const page of pages) await connected(page, pages.length - 1);
  return { host, server, pages, ids };
}

const run = {
  identities: (page) => page.run(() => window.member.identities()),
  ticksOf: (page, id) => page.run((from) => window.member.ticks[from], id),
  /** Waits until some more frames of the peer's stream have been shown. */
  async moreFrames(page, id, label = "camera") {
    const shown = await page.run((...stream) => window.member.framesShown(...stream), id, label);
    await page.until((n, ...stream) => window.member.framesShown(...stream) >= n, shown + 5, id, label);
  },
  ticking: (page) => page.run(() => window.member.startTicking()),
  /** Waits until this many more ticks have come from the peer. */
  async moreTicks(page, id, count = 5) {
    const { numbers } = (await run.ticksOf(page, id)) ?? { numbers: [] };
    await page.until((from, n) => window.member.ticks[from]?.numbers.length >= n, id, numbers.length + count);
  },
};

/** Reliable and in order: no number is missing or comes twice. */
function assertWhole(numbers) {
  assert.deepEqual(numbers, Array.from(numbers, (_, i) => numbers[0] + i));
}

for (const kinds of [
  ["chromium", "chromium"],
  ["chromium", "firefox"],
]) {
  const names = kinds.join(" and ");
  const skip = missing(...new Set(kinds));

  test(`${names} exchange messages and streams`, { skip, timeout: TIMEOUT }, async (t) => {
    const { pages, ids } = await pair(t, kinds, { camera: true });
    for (const [i, page] of pages.entries()) {
      const other = ids[1 - i];
      await run.moreFrames(page, other);
      const streams = await page.run(() => window.member.events.filter(([event]) => event === "stream"));
      assert.deepEqual(streams, [["stream", other, { label: "camera", tracks: ["audio", "video"] }]]);
      assert.equal(await page.run(() => window.member.constructed), 1);
    }
    const [first, second] = pages;
    await first.run(async () => {
      await window.member.room.send({ text: "ä <b>" });
      await window.member.room.send("x".repeat(300_000));
      await window.member.room.send(new Uint8Array(100_000).fill(7));
      await window.member.room.send("cursor", { droppable: true });
    });
    await second.until(() => window.member.messages.length === 4);
    const messages = await second.run(() => window.member.messages);
    const reliable = messages.filter(({ droppable }) => !droppable);
    assert.deepEqual(reliable[0], { from: ids[0], data: { text: "ä <b>" }, via: "peer", droppable: false });
    assert.equal(reliable[1].data.length, 300_000);
    assert.deepEqual(reliable[2].binary, [...new Array(16).fill(7), 100_000]);
    assert.ok(messages.some(({ data, droppable }) => data === "cursor" && droppable));
    assert.deepEqual(await second.run(() => window.member.errors), []);

    // Replaces a track without negotiation, then adds a second stream and removes it.
    const before = await second.run(() => window.member.room.peers.values().next().value.connection.remoteDescription.sdp);
    await first.run(() => window.member.replaceVideo("camera"));
    await run.moreFrames(second, ids[0]);
    const after = await second.run(() => window.member.room.peers.values().next().value.connection.remoteDescription.sdp);
    assert.equal(after, before);
    await first.run(() => window.member.publish("screen"));
    await second.until(() => window.member.events.filter(([event]) => event === "stream").length === 2);
    await first.run(() => window.member.unpublish("screen"));
    await second.until(() => window.member.events.some(([event]) => event === "stream_ended"));
    const ended = await second.run(() => window.member.events.filter(([event]) => event === "stream_ended"));
    assert.deepEqual(ended, [["stream_ended", ids[0], { label: "screen", tracks: [] }]]);

    const [stats] = await first.run(() => window.member.paths());
    assert.equal(stats.path, "direct");
    assert.equal(stats.protocol, "udp");
    assert.ok(stats.bytesReceived > 0 && stats.roundTripTime >= 0);

    await second.run(() => window.member.room.leave());
    await first.until(() => window.member.events.some(([event]) => event === "peer_left"));
    assert.deepEqual(await first.run(() => window.member.peerIds()), []);
  });
}

for (const kinds of [
  ["chromium", "chromium"],
  ["chromium", "firefox"],
]) {
  const name = `${kinds.join(" and ")} that offer at the same moment see each other, time and again`;
  test(name, { skip: missing(...new Set(kinds)), timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve();
    const pages = [];
    for (const kind of kinds) pages.push(await (await host.browse(kind)).open("sdk.html"));
    // It differs from room to room which of the two gives way.
    for (let round = 0; round < 3; round++) {
      const ids = [];
      for (const page of pages) ids.push(await join(page, server, {}, `room ${round}`));
      for (const page of pages) await connected(page, 1);
      const see = async (...labels) => {
        for (const [i, page] of pages.entries()) {
          for (const label of labels) await run.moreFrames(page, ids[1 - i], label);
          assert.deepEqual(await page.run(() => window.member.errors), []);
        }
      };
      await Promise.all(pages.map((page) => page.run(() => window.member.publish("camera"))));
      await see("camera");
      await Promise.all(pages.map((page) => page.run(() => window.member.publish("screen"))));
      await see("camera", "screen");
      await Promise.all(pages.map((page) => page.run(() => window.member.restartIce())));
      await see("camera", "screen");
      for (const page of pages) await page.run(() => window.member.room.leave());
    }
  });
}

const AWAY = LONG ? 10_000 : 3_000;

for (const kinds of [
  ["chromium", "chromium"],
  ["chromium", "firefox"],
]) {
  const names = kinds.join(" and ");
  const skip = missing(...new Set(kinds));

  for (const policy of ["all", "relay"]) {
    test(`${names}, ${policy}: the server is killed and comes back`, { skip, timeout: TIMEOUT }, async (t) => {
      const { server, pages, ids } = await pair(t, kinds, { policy });
      for (const page of pages) await run.ticking(page);
      for (const [i, page] of pages.entries()) await run.moreTicks(page, ids[1 - i]);
      const before = await Promise.all(pages.map(run.identities));

      await server.kill();
      for (const page of pages) await page.until(() => window.member.room.state === "reconnecting");
      if (policy === "all") {
        for (const [i, page] of pages.entries()) await run.moreTicks(page, ids[1 - i], AWAY / 50);
      } else {
        await new Promise((resolve) => setTimeout(resolve, AWAY));
      }
      await server.restart();
      const restarted = performance.now();
      for (const page of pages) await page.until(() => window.member.room.state === "joined");
      for (const [i, page] of pages.entries()) await run.moreTicks(page, ids[1 - i]);
      const took = performance.now() - restarted;
      t.diagnostic(`joined, and ticks from all, ${Math.round(took)} ms after the restart`);
      // Direct pairs had not lost anything.
      if (policy === "relay") assert.ok(took < 10_000, `it took ${took} ms`);

      for (const [i, page] of pages.entries()) {
        const other = ids[1 - i];
        const { id, peers, events, made } = await page.run(() => ({
          id: window.member.room.id,
          peers: window.member.peerIds(),
          events: window.member.events,
          made: window.member.constructed,
        }));
        assert.deepEqual({ id, peers, made }, { id: ids[i], peers: [other], made: 1 });
        assert.ok(!events.some(([event]) => event.startsWith("peer_l")), JSON.stringify(events));
        const was = before[i][other];
        const is = (await run.identities(page))[other];
        assert.deepEqual([is.same, is.local, is.remote], [true, was.local, was.remote]);
        assert.ok(is.received > was.received);
        assert.equal(is.ufrag === was.ufrag, policy === "all", "ICE is restarted where it was relayed, and only there");
        const ticks = await run.ticksOf(page, other);
        assertWhole(ticks.numbers);
        if (policy === "all") assert.ok(ticks.longestGap < 1500, `direct ticks paused for ${ticks.longestGap} ms`);
        const [path] = await page.run(() => window.member.paths());
        assert.equal(path.path, policy === "all" ? "direct" : "relayed");
      }
    });
  }
}

for (const kind of ["chromium", "firefox"]) {
  test(`in ${kind} a logger is told of a relayed call, and no secret`, { skip: missing(kind), timeout: TIMEOUT }, async (t) => {
    const { pages, ids } = await pair(t, [kind, kind], { policy: "relay", name: "Ada of the log" });
    const [first, second] = pages;
    await first.run(() => window.member.room.send("what is said"));
    await second.until(() => window.member.messages.length === 1);
    await second.until(() => window.member.log.some((line) => line.includes("relayed")));
    const log = await second.run(() => window.member.log);
    const other = ids[0];
    // The protocol is TCP if answers over UDP are late.
    const protocol = await second.run(async () => (await window.member.room.stats())[0].protocol);
    for (const wanted of [
      `info bimcc-rtc: joined as ${ids[1]} with ${other}`,
      `debug bimcc-rtc: > __offer ${other}`,
      `debug bimcc-rtc: > __ice_candidate ${other} typ relay`,
      `debug bimcc-rtc: < _answer ${other}`,
      `info bimcc-rtc: ${other}: connected`,
      `info bimcc-rtc: ${other}: relayed, ${protocol}`,
    ]) {
      assert.ok(log.includes(wanted), `${wanted} is not in\n${log.join("\n")}`);
    }
    const secrets = await second.run(() => {
      const { iceServers } = window.member.room.peers.values().next().value.connection.getConfiguration();
      return iceServers.flatMap(({ username, credential }) => [username, credential]).filter(Boolean);
    });
    assert.ok(secrets.length >= 2);
    for (const secret of [...secrets, "what is said", "Ada of the log", "a room", "a=fingerprint"]) {
      assert.ok(!log.join("\n").includes(secret), `${secret} is in\n${log.join("\n")}`);
    }
    t.diagnostic(`\n${log.join("\n")}`);
  });
}

test("a relayed call with pictures outlives a clean restart", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const kinds = ["chromium", "chromium"];
  const { server, pages, ids } = await pair(t, kinds, { policy: "relay", camera: true });
  for (const [i, page] of pages.entries()) await run.moreFrames(page, ids[1 - i]);
  await server.stop();
  for (const page of pages) await page.until(() => window.member.room.state === "reconnecting");
  await server.restart();
  for (const page of pages) await page.until(() => window.member.room.state === "joined");
  for (const [i, page] of pages.entries()) await run.moreFrames(page, ids[1 - i]);
  for (const page of pages) assert.equal(await page.run(() => window.member.constructed), 1);
});

test("a duplicated tab becomes a second member", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const browser = await host.browse("chromium");
  const first = await browser.open("sdk.html");
  const id = await join(first, server);
  // What a browser's "duplicate tab" copies: the URL and the session storage.
  await first.run(() => {
    window.copy = window.open(location.href);
  });
  await first.until(() => window.copy.member);
  const second = await first.run((...args) => window.copy.member.join(...args), server.wsUrl(), "a room");
  assert.notEqual(second, id);
  await first.until(() => window.member.states().includes("connected"));
  assert.deepEqual(await first.run(() => [window.member.room.state, window.copy.member.room.state]), ["joined", "joined"]);
  assert.deepEqual(await first.run(() => window.member.events.filter(([event]) => event === "left")), []);
});

test("a kicked member does not come back, and is gone at once", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { server, pages, ids } = await pair(t, ["chromium", "chromium"], { policy: "relay", camera: true });
  const [kicked, other] = pages;
  await run.moreFrames(other, ids[0]);
  const url = `http://127.0.0.1:${server.ports.admin}/api/rooms/${encodeURIComponent("a room")}/peers/${ids[0]}`;
  const asked = performance.now();
  const { status } = await fetch(url, { method: "DELETE" });
  assert.equal(status, 204);
  await other.until(() => window.member.events.some(([event]) => event === "peer_left"));
  assert.ok(performance.now() - asked < 1000);
  await kicked.until(() => window.member.room.state === "left");
  const events = await kicked.run(() => window.member.events.filter(([event]) => event === "left"));
  assert.deepEqual(events, [["left", "kicked"]]);
  const left = await other.run(() => window.member.events.filter(([event]) => event === "peer_left"));
  assert.deepEqual(left, [["peer_left", ids[0], "kicked"]]);
  assert.deepEqual(await other.run(() => window.member.peerIds()), []);
});

test("joining fails soon, and says why", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve({ args: ["--max-peers-per-room", "1"] });
  const page = await (await host.browse("chromium")).open("sdk.html");
  await join(page, server);
  const fails = (url, room) => page.run((...args) => window.member.joinFails(...args), url, room);
  const full = await fails(server.wsUrl(), "a room");
  assert.deepEqual([full.isOurs, full.reason], [true, "room_full"]);
  for (const room of ["\n", "", undefined, null, 5, "x".repeat(129)]) {
    assert.deepEqual((await fails(server.wsUrl(), room)).reason, "bad_room");
  }
  const nobody = await fails("ws://127.0.0.1:1", "a room");
  assert.deepEqual([nobody.isOurs, nobody.reason], [true, "unreachable"]);
  assert.ok(nobody.after < 20_000, `told after ${nobody.after} ms`);
});

test("unreachable says what is likely the matter", {
  skip: missing("chromium", "firefox", "certutil"),
  timeout: TIMEOUT,
}, async (t) => {
  const host = await (await setStage(t)).host();
  const plain = await host.serve();
  const secure = await host.serve({ tls: true });
  const { port } = new URL(secure.wsUrl());
  const tries = [
    ["ws://127.0.0.1:1", /ws:\/\/127.0.0.1:1: is the port right/],
    [`http://127.0.0.1:${port}`, /--tls.*https:/],
    [`https://127.0.0.1:${port}`, /does not trust its certificate: open https:/],
    [plain.wsUrl().replace("ws:", "wss:"), /no TLS: then it takes an http:/],
  ];
  for (const kind of ["chromium", "firefox"]) {
    const page = await (await host.browse(kind)).open("sdk.html");
    await page.until(() => window.member);
    const failures = await page.run(
      (urls) => Promise.all(urls.map((url) => window.member.joinFails(url, "a room"))),
      tries.map(([url]) => url),
    );
    for (const [i, { reason, message }] of failures.entries()) {
      assert.equal(reason, "unreachable");
      assert.match(message, tries[i][1]);
    }
  }
  // A page of the server with https, and another one without.
  for (const kind of ["chromium", "firefox"]) {
    const page = await (await host.browse(kind, { ca: secure.ca })).open(`${secure.url("127.0.0.1")}/client.d.ts`);
    const failure = await page.run(async () => {
      const { joinRoom } = await import("/client.js");
      return joinRoom({ url: "http://192.0.2.1:3000", room: "a room" }).catch(({ reason, message }) => [reason, message]);
    });
    assert.equal(failure[0], "unreachable");
    assert.match(failure[1], /ws:\/\/192.0.2.1:3000 \(mixed content\)/);
  }
});

for (const kind of ["chromium", "firefox"]) {
  test(`without WebRTC joining is refused, and the others see no ghost, ${kind}`, {
    skip: missing(kind),
    timeout: TIMEOUT,
  }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve();
    const browser = await host.browse(kind);
    const witness = await browser.open("sdk.html");
    await join(witness, server);
    const page = await browser.open("sdk.html");
    await page.until(() => window.member);
    const refused = await page.run(async (url) => {
      const results = [];
      for (const replacement of [
        undefined,
        class {
          constructor() {
            throw new Error("blocked by an extension");
          }
        },
        () => {},
      ]) {
        window.RTCPeerConnection = replacement;
        results.push(await window.member.joinFails(url, "a room"));
      }
      return results;
    }, server.wsUrl());
    for (const { isOurs, reason } of refused) assert.deepEqual([isOurs, reason], [true, "not_supported"]);
    // Any earlier message to the server would have arrived before this member comes.
    const last = await browser.open("sdk.html");
    const id = await join(last, server);
    await witness.until((id) => window.member.events.some(([event, peer]) => event === "peer_joined" && peer === id), id);
    assert.equal(await witness.run(() => window.member.events.filter(([event]) => event === "peer_joined").length), 1);
  });
}

test("a member that is awaited is away until it is gone", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const browser = await host.browse("chromium");
  const witness = await browser.open("sdk.html");
  // A member joins like this client, and its connection breaks.
  await witness.run((url) => {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send(JSON.stringify({ eventName: "__join", data: { room: "a room", resume: "" } }));
    return new Promise((resolve) => {
      socket.onmessage = resolve;
    }).then(() => socket.close());
  }, server.wsUrl());
  await join(witness, server);
  await witness.until(() => [...window.member.room.peers.values()].some(({ isAway }) => isAway));
  await witness.until(() => window.member.events.some(([event]) => event === "peer_left"));
});

test("a hostile peer on the channels is refused and named", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { pages, ids } = await pair(t, ["chromium", "chromium"]);
  const [villain, victim] = pages;
  const attack = async (label, frame, times) => {
    await villain.run((...args) => window.member.sendRaw(...args), label, frame, times);
  };
  await attack("messages", "a text", 3);
  await attack("messages", [255, 255, 255], 3);
  await attack("messages", new Array(50_000).fill(0), 20);
  await attack("messages", [1, 123], 1);
  await attack("droppable", "a text", 3);
  await attack("files", "a text", 3);
  await attack("files", [9, 9, 9, 9, 9, 9], 3);
  // Endless pieces of one message, 16 MB of them.
  await attack("messages", [0, ...new Array(16_383).fill(65)], 1000);
  await victim.until((id) => window.member.errors.some(({ peer }) => peer === id), ids[0]);
  const errors = await victim.run(() => window.member.errors);
  assert.ok(errors.every(({ reason, peer }) => reason === "bad_peer_message" && peer === ids[0]), JSON.stringify(errors));
  assert.ok(errors.length < 20, "not once per message");
  assert.deepEqual(await victim.run(() => window.member.messages), []);
  // The page is as fast as before, and the channel still works.
  await attack("messages", [1], 1);
  await attack("messages", [1, ...Buffer.from('"peace"')], 1);
  await victim.until(() => window.member.messages.some(({ data }) => data === "peace"));
});

const CUT = LONG ? 60_000 : 6_000;

for (const policy of ["all", "relay"]) {
  const skip = missing("chromium", "namespaces", "nft");
  test(`a member whose network is cut comes back, ${policy}`, { skip, timeout: TIMEOUT }, async (t) => {
    const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
    const server = await host.serve();
    const pages = [await (await alice.browse("chromium")).open("sdk.html"), await (await bob.browse("chromium")).open("sdk.html")];
    const ids = [];
    for (const page of pages) ids.push(await join(page, server, { policy, name: "cut" }));
    for (const page of pages) await connected(page, 1);
    for (const page of pages) await run.ticking(page);
    for (const [i, page] of pages.entries()) await run.moreTicks(page, ids[1 - i]);

    const restore = await alice.cutOff();
    await new Promise((resolve) => setTimeout(resolve, CUT));
    if (LONG) await pages[0].until(() => window.member.room.state === "reconnecting");
    await restore();
    const back = performance.now();
    for (const [i, page] of pages.entries()) await run.moreTicks(page, ids[1 - i]);
    t.diagnostic(`ticks from both ${Math.round(performance.now() - back)} ms after the network was back`);
    for (const [i, page] of pages.entries()) {
      await connected(page, 1);
      assert.equal(await page.run(() => window.member.constructed), 1);
      assert.equal(await page.run(() => window.member.room.id), ids[i]);
      assertWhole((await run.ticksOf(page, ids[1 - i])).numbers);
    }
  });
}

test("a call outlives its credentials, and ICE is restarted with pushed ones", {
  skip: missing("chromium"),
  timeout: LONG ? 600_000 : TIMEOUT,
}, async (t) => {
  const ttl = LONG ? 20 : 10;
  const args = ["--credential-ttl", `${ttl}s`, "--allocation-lifetime", "60s"];
  const { server, pages, ids } = await pair(t, ["chromium", "chromium"], { policy: "relay", serve: { args } });
  const before = await run.identities(pages[0]);
  const first = await pages[0].run(() => window.member.iceServers());
  for (const page of pages) await run.ticking(page);
  // A new set comes after half of the lifetime of each.
  for (const page of pages) {
    await page.until((old) => window.member.iceServers().at(-1).username !== old, (await page.run(() => window.member.iceServers())).at(-1).username);
  }
  const wait = LONG ? 360_000 : 1.5 * ttl * 1000;
  await new Promise((resolve) => setTimeout(resolve, wait));
  for (const [i, page] of pages.entries()) await run.moreTicks(page, ids[1 - i]);
  if (LONG) {
    const refreshes = (await server.metrics()).find(({ name }) => name === "bimcc_rtc_turn_refreshes_after_expiry_total");
    t.diagnostic(`refreshes after expiry: ${refreshes.value}`);
    assert.ok(refreshes.value >= 4);
  }
  const stale = await pages[0].run((servers) => window.member.gather(servers), first);
  assert.deepEqual(stale.candidates, []);
  assert.ok(stale.errors.includes(401), JSON.stringify(stale));

  await pages[0].run(() => window.member.restartIce());
  await pages[0].until(async (id, ufrag) => (await window.member.identities())[id].ufrag !== ufrag, ids[1], before[ids[1]].ufrag);
  for (const [i, page] of pages.entries()) await run.moreTicks(page, ids[1 - i]);
  const after = await run.identities(pages[0]);
  assert.deepEqual([after[ids[1]].same, after[ids[1]].local], [true, before[ids[1]].local]);
  for (const [i, page] of pages.entries()) assertWhole((await run.ticksOf(page, ids[1 - i])).numbers);
});

for (const newcomer of ["member", "old client"]) {
  test(`the ${newcomer} comes to the other kind, and they talk`, { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve();
    const browser = await host.browse("chromium", { args: ["--disable-features=WebRtcHideLocalIpsWithMdns"] });
    const member = await browser.open("sdk.html");
    const old = await browser.open("old-client.html");
    const comes = {
      member: () => join(member, server),
      "old client": () =>
        old.run((url) => {
          window.client = new OldClient([]);
          window.client.connect(url, "a room");
        }, server.wsUrl()),
    };
    for (const who of newcomer === "member" ? ["old client", "member"] : ["member", "old client"]) {
      await comes[who]();
      if (who === "old client") await old.until(() => window.client.me);
    }
    await connected(member, 1);
    await old.until(() => Object.values(window.client.dataChannels).some(({ readyState }) => readyState === "open"));
    await old.run(() => window.client.broadcast("an old greeting"));
    await member.until(() => window.member.messages.some(({ data }) => data === "an old greeting"));
    await member.run(() => window.member.room.send("a new greeting"));
    await old.until(() => window.client.messages.some(({ data }) => data === "a new greeting"));

    // If a message cannot reach an old client, the sender gets an error, and later messages arrive.
    const tooMuch = async (options) => {
      const reasons = [];
      for (const data of [new Uint8Array(5), "x".repeat(300_000), "é".repeat(200_000)]) {
        await window.member.room.send(data, options).catch(({ reason }) => reasons.push(reason));
      }
      await window.member.room.send("after it");
      return reasons;
    };
    const expected = ["not_supported", "too_large", "too_large"];
    const id = await old.run(() => window.client.me);
    assert.deepEqual(await member.run(tooMuch, { to: id }), expected);
    assert.deepEqual(await member.run(tooMuch), []);
    assert.deepEqual(await member.run(() => window.member.errors.map(({ reason }) => reason)), expected);
    await old.until(() => window.client.messages.filter(({ data }) => data === "after it").length === 2);
    assert.equal(await old.run(() => window.client.messages.length), 3);
    assert.deepEqual(await old.run(() => window.client.errors), []);
  });
}
