// Pages on the old API, by /BimccWebRTC.js: pages like BimccRTC's sample and SkyRTC's demo, among themselves, with
// clients of that time, and with pages on the current API.
import assert from "node:assert/strict";
import { test } from "node:test";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 180_000;
const KINDS = [
  ["chromium", "chromium"],
  ["firefox", "chromium"],
];
// Clients of that time use no server for ICE; see old-clients.test.mjs.
const OPEN_ADDRESSES = {
  args: ["--disable-features=WebRtcHideLocalIpsWithMdns"],
  preferences: { "media.peerconnection.ice.obfuscate_host_addresses": false },
};

async function stage(t, kinds) {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const browsers = [];
  for (const kind of kinds) browsers.push(await host.browse(kind, OPEN_ADDRESSES));
  return { host, server, browsers };
}

/** Waits until the page shows moving pictures of its own camera and of this many others. */
function showsVideos(page, others) {
  return page.until((count) => {
    const ids = window.playing();
    return ids.includes("me") && ids.filter((id) => id.startsWith("other-")).length === count;
  }, others);
}

// ---- In the manner of BimccRTC ----------------------------------------------------------------------------------------

for (const kinds of KINDS) {
  for (const when of ["before", "during", "after"]) {
    test(`a whiteboard page, ready ${when} the stream comes, ${kinds.join(" and ")}`, {
      skip: missing(...new Set(kinds)),
      timeout: TIMEOUT,
    }, async (t) => {
      const { server, browsers } = await stage(t, kinds);
      const pages = [];
      for (const browser of [browsers[0], browsers[1]]) {
        const page = await browser.open("legacy.html");
        await page.run(
          (...args) => {
            window.canvas = { api: { loadCanvasFromData: (message) => (window.loaded = message) } };
            window.alert = (text) => (window.alerted = text);
            window.startBimccPage(...args);
          },
          `${server.wsUrl()}?room=room1`,
          "room1",
          when,
        );
        pages.push(page);
        await page.until(() => window.webrtc.me);
      }
      for (const page of pages) await showsVideos(page, 1);
      for (const [from, to] of [pages, [...pages].reverse()]) {
        await from.until(() =>
          Object.values(window.webrtc.dataChannels).some((channel) => channel.readyState === "open"),
        );
        const text = `canvas ${Math.random()}`;
        await from.run((message) => window.webrtc.broadcast(message), text);
        await to.until((message) => window.loaded === message, text);
      }
      const left = await pages[1].run(() => window.webrtc.me);
      await pages[1].close();
      await pages[0].until((id) => !document.getElementById(`other-${id}`), left);
      assert.equal(await pages[0].run(() => window.alerted ?? "nothing"), "nothing");
      assert.equal(await pages[0].run(() => document.getElementById("me").muted), true, "no echo of oneself");
    });
  }
}

// ---- In the manner of SkyRTC ------------------------------------------------------------------------------------------

async function openSky(browser, server, options = {}) {
  const page = await browser.open("legacy.html");
  await page.run((...args) => window.startPage("SkyRTC", ...args), `${server.wsUrl()}`, "sky", options);
  await page.until(() => window.rtc.me);
  return page;
}

const names = (page) => page.run(() => [...new Set(window.seen.map(([name]) => name))]);
const hasSeen = (page, name) => page.until((wanted) => window.seen.find(([event]) => event === wanted), name);

for (const kinds of KINDS) {
  test(`two pages call, talk and share files, ${kinds.join(" and ")}`, {
    skip: missing(...new Set(kinds)),
    timeout: TIMEOUT,
  }, async (t) => {
    const { server, browsers } = await stage(t, kinds);
    const first = await openSky(browsers[0], server);
    await hasSeen(first, "stream_created");
    const second = await openSky(browsers[1], server);
    const ids = [await first.run(() => window.rtc.me), await second.run(() => window.rtc.me)];
    for (const page of [first, second]) await showsVideos(page, 1);
    for (const [index, page] of [first, second].entries()) {
      const other = ids[1 - index];
      assert.deepEqual(await hasSeen(page, "pc_add_stream"), [
        "pc_add_stream",
        "MediaStream",
        other,
        "RTCPeerConnection",
      ]);
      assert.deepEqual(await hasSeen(page, "data_channel_opened"), ["data_channel_opened", "RTCDataChannel", other]);
      assert.deepEqual(await hasSeen(page, "pc_opened"), ["pc_opened", other, "RTCPeerConnection"]);
      await page.run((id, text) => window.rtc.sendMessage(text, id), other, `to ${other}`);
    }
    assert.deepEqual(await hasSeen(second, "data_channel_message"), [
      "data_channel_message",
      "RTCDataChannel",
      ids[0],
      `to ${ids[1]}`,
    ]);
    assert.deepEqual(await hasSeen(first, "data_channel_message"), [
      "data_channel_message",
      "RTCDataChannel",
      ids[1],
      `to ${ids[0]}`,
    ]);

    const text = "a line of a file, of some thousands\n".repeat(6000);
    for (const [from, to, index] of [
      [first, second, 0],
      [second, first, 1],
    ]) {
      await from.run((content) => {
        window.chooseFile("dir-notes.txt", content);
        window.rtc.shareFile("file");
      }, text);
      const [, sendId, receiver, file] = await hasSeen(from, "sended_file");
      assert.deepEqual([receiver, file], [ids[1 - index], "File"]);
      assert.deepEqual(await hasSeen(to, "receive_file"), [
        "receive_file",
        sendId,
        ids[index],
        "dir-notes.txt",
        "Blob",
      ]);
      assert.equal(await to.run(() => window.receivedBlob.text()), text);
      const [, ...ask] = await hasSeen(to, "receive_file_ask");
      assert.deepEqual(ask, [sendId, ids[index], "dir-notes.txt", text.length]);
      const [, ...chunk] = await hasSeen(from, "send_file_chunk");
      assert.deepEqual([chunk[0], chunk[1], chunk[3]], [sendId, ids[1 - index], "File"]);
      assert.ok(chunk[2] > 0 && chunk[2] < 100);
    }
    for (const name of [
      "socket_opened",
      "get_peers",
      "connected",
      "ready",
      "send_file",
      "send_file_accepted",
      "receive_file_chunk",
    ]) {
      assert.ok((await names(first)).includes(name), name);
    }
    for (const name of ["new_peer", "get_offer", "get_ice_candidate", "pc_get_ice_candidate", "pc_add_data_channel"]) {
      assert.ok((await names(first)).includes(name), name);
    }
    assert.ok((await names(second)).includes("get_answer"));

    await second.close();
    assert.deepEqual(await hasSeen(first, "remove_peer"), ["remove_peer", ids[1]]);
    assert.deepEqual(await first.run(() => [window.rtc.connections, Object.keys(window.rtc.peerConnections)]), [
      [],
      [],
    ]);
  });
}

// The methods of the originals, in their order.
const METHODS = (
  "on emit connect createStream addStreams attachStream sendOffers receiveOffer sendAnswer receiveAnswer " +
  "createPeerConnections createPeerConnection closePeerConnection broadcast sendMessage addDataChannels createDataChannel " +
  "addDataChannel parseFilePacket shareFile sendFile sendFileChunks sendFileChunk receiveFileAccept receiveFileRefuse " +
  "cleanSendFile sendAsk getRandomString receiveFileChunk getTransferedFile receiveFileAsk sendFileAccept sendFileRefuse " +
  "cleanReceiveFile allReadyComplete"
).split(" ");
const PROPERTIES = {
  room: "",
  socket: null,
  me: null,
  peerConnections: {},
  connections: [],
  dataChannels: {},
  localMediaStream: null,
  numStreams: 0,
  initializedStreams: 0,
  fileData: {},
  fileChannels: {},
  receiveFiles: {},
};

test("nothing is missing that the originals have", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { server, browsers } = await stage(t, ["chromium"]);
  const page = await browsers[0].open("legacy.html");
  for (const factory of ["SkyRTC", "BimccMultiRTC"]) {
    const found = await page.run(
      (factory, methods, properties) => {
        const rtc = window[factory]();
        return {
          methods: methods.filter((name) => typeof rtc[name] === "function"),
          properties: Object.fromEntries(properties.map((name) => [name, rtc[name]])),
          random: /^[0-9A-Z-]+$/.test(rtc.getRandomString()) && rtc.getRandomString() !== rtc.getRandomString(),
        };
      },
      factory,
      METHODS,
      Object.keys(PROPERTIES),
    );
    assert.deepEqual(found, { methods: METHODS, properties: PROPERTIES, random: true });
  }
  // The socket exists as soon as `connect` returns, so that a page may listen to it.
  const atOnce = await page.run((url) => {
    const rtc = window.SkyRTC();
    window.record(rtc);
    rtc.connect(url, "r");
    return [rtc.socket instanceof WebSocket, rtc.socket.readyState === WebSocket.CONNECTING];
  }, server.wsUrl());
  assert.deepEqual(atOnce, [true, true]);
  await hasSeen(page, "connected");
  const [name, opened] = await page.run(() => window.seen[0]);
  assert.deepEqual([name, opened], ["socket_opened", "WebSocket"]);
});

test("a page is told that there is no server", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { browsers } = await stage(t, ["chromium"]);
  const page = await browsers[0].open("legacy.html");
  await page.run(() => {
    const rtc = window.SkyRTC();
    window.record(rtc);
    rtc.connect("ws://127.0.0.1:1", "r");
  });
  assert.deepEqual(await hasSeen(page, "socket_error"), ["socket_error", "Event", "WebSocket"]);
  assert.deepEqual(await hasSeen(page, "socket_closed"), ["socket_closed", "WebSocket"]);
});

test("a file that is refused, and one whose receiver goes", {
  skip: missing("chromium"),
  timeout: TIMEOUT,
}, async (t) => {
  const { server, browsers } = await stage(t, ["chromium"]);
  const first = await openSky(browsers[0], server, { camera: false });
  const second = await openSky(browsers[0], server, { camera: false, accept: false });
  await hasSeen(first, "data_channel_opened");
  await first.run(() => {
    window.chooseFile("a.txt", "text");
    window.rtc.sendFile("file", window.rtc.connections[0]);
  });
  const [, , id] = await hasSeen(first, "send_file_refused");
  assert.equal(id, await second.run(() => window.rtc.me));
  await second.run(() => (window.rtc.events.receive_file_ask = []));
  await first.run(() => window.rtc.sendFile("file", window.rtc.connections[0]));
  await second.close();
  const [, error, socketId, sendId, file] = await hasSeen(first, "send_file_error");
  assert.deepEqual([error, socketId, typeof sendId, file], ["Error", id, "string", "File"]);
  await first.run(() => window.rtc.sendFile("no-such-element", "nobody"));
  assert.equal((await first.run(() => window.seen.filter(([name]) => name === "send_file_error"))).length, 2);
});

// ---- With others ------------------------------------------------------------------------------------------------------

async function openOldProtocol(browser, server) {
  const page = await browser.open("old-client.html");
  await page.run((url) => {
    window.client = new window.OldClient();
    const connected = new Promise((resolve) => window.client.on("_peers", resolve));
    window.client.connect(url, "sky");
    return connected;
  }, `${server.wsUrl()}`);
  return page;
}

for (const newcomer of ["old protocol", "old API"]) {
  test(`the ${newcomer} comes: messages and files both ways`, {
    skip: missing("chromium"),
    timeout: TIMEOUT,
  }, async (t) => {
    const { server, browsers } = await stage(t, ["chromium"]);
    const early = newcomer === "old API" ? await openOldProtocol(browsers[0], server) : undefined;
    const page = await openSky(browsers[0], server);
    await hasSeen(page, "stream_created");
    const old = early ?? (await openOldProtocol(browsers[0], server));
    const ids = { page: await page.run(() => window.rtc.me), old: await old.run(() => window.client.me) };

    await old.until((id) => window.client.dataChannels[id]?.readyState === "open", ids.page);
    await hasSeen(page, "data_channel_opened");
    await old.run(() => window.client.broadcast("from the past"));
    assert.deepEqual((await hasSeen(page, "data_channel_message")).slice(2), [ids.old, "from the past"]);
    await page.run(() => window.rtc.broadcast("from the page"));
    await old.until(() => window.client.messages.some(({ data }) => data === "from the page"));

    const text = "0123456789".repeat(1000);
    await page.run((content) => {
      window.chooseFile("a.txt", content);
      window.rtc.shareFile(document.getElementById("file"));
    }, text);
    await old.until(() => Object.values(window.client.filesReceived ?? {}).some(({ done }) => done));
    const [file] = await old.run(() => Object.values(window.client.filesReceived));
    assert.deepEqual(
      [file.name, file.size, file.longest, file.data],
      ["a.txt", text.length, 1000, `data:text/plain;base64,${btoa(text)}`],
    );
    await old.run((...args) => window.client.offerFile(...args), ids.page, "../b.txt", text);
    assert.equal((await hasSeen(page, "receive_file"))[3], "b.txt");
    assert.equal(await page.run(() => window.receivedBlob.text()), text);
    assert.deepEqual(await old.run(() => window.client.errors), []);
  });
}

for (const newcomer of ["today's API", "old API"]) {
  test(`the ${newcomer} comes to the other: streams and texts both ways`, {
    skip: missing("chromium"),
    timeout: TIMEOUT,
  }, async (t) => {
    const { server, browsers } = await stage(t, ["chromium"]);
    const openModern = async () => {
      const page = await browsers[0].open("sdk.html");
      await page.until(() => window.member);
      await page.run((url) => window.member.join(url, "sky", { camera: true }), server.wsUrl());
      return page;
    };
    const early = newcomer === "old API" ? await openModern() : undefined;
    const page = await openSky(browsers[0], server);
    await hasSeen(page, "stream_created");
    const modern = early ?? (await openModern());
    const ids = { page: await page.run(() => window.rtc.me), modern: await modern.run(() => window.member.room.id) };
    await showsVideos(page, 1);
    await modern.until((id) => window.member.framesShown(id) > 3, ids.page);
    await hasSeen(page, "data_channel_opened");
    await page.run(() => window.rtc.broadcast("from the old API"));
    await modern.until(() => window.member.messages.some(({ data }) => data === "from the old API"));
    await modern.run(() => window.member.room.send("from today's API"));
    assert.deepEqual((await hasSeen(page, "data_channel_message")).slice(1), [
      "RTCDataChannel",
      ids.modern,
      "from today's API",
    ]);
  });
}

test("a whole canvas is larger than a message may be, and a flood is not let in", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { server, browsers } = await stage(t, ["chromium"]);
  const pages = [];
  for (let i = 0; i < 2; i++) pages.push(await openSky(browsers[0], server, { camera: false }));
  for (const page of pages) await hasSeen(page, "data_channel_opened");
  await pages[0].run(() => window.rtc.broadcast("x".repeat(1_000_000)));
  await pages[1].until(() => window.seen.some(([name, , , text]) => name === "data_channel_message" && text.length === 1_000_000));
  await pages[0].run(() => {
    for (let i = 0; i < 5000; i++) window.rtc.broadcast(i);
    for (const garbage of ["", "{", "null", "[]", "5"]) Object.values(window.rtc.dataChannels)[0].send(garbage);
  });
  const [, , id] = await hasSeen(pages[1], "data_channel_error");
  assert.equal(id, await pages[0].run(() => window.rtc.me));
  const taken = await pages[1].run(() => window.seen.filter(([name]) => name === "data_channel_message").length);
  assert.ok(taken < 3000, `${taken} messages were let in`);
});

for (const kinds of KINDS) {
  test(`11.2: messages of any size arrive, whole and in order, ${kinds.join(" and ")}`, {
    skip: missing(...new Set(kinds)),
    timeout: TIMEOUT,
  }, async (t) => {
    const { server, browsers } = await stage(t, kinds);
    const pages = [];
    for (const browser of browsers) pages.push(await openSky(browser, server, { camera: false }));
    for (const page of pages) await hasSeen(page, "data_channel_opened");
    // Sizes around what browsers accept, in bytes and not in characters.
    const sizes = [65_500, 65_536, 250_000, 262_100, 262_144, 300_000, 1_000_000, 4_000_000];
    for (const [from, to] of [pages, [...pages].reverse()]) {
      const came = () => window.seen.filter(([name]) => name === "data_channel_message").map(([, , , data]) => data);
      const lengths = await from.run((sizes) => {
        const texts = sizes.flatMap((size) => ["x".repeat(size), size, "é".repeat(size / 3)]);
        for (const text of texts) window.rtc.broadcast(text);
        return texts.map((text) => text.length ?? text);
      }, sizes);
      await to.until(({ length }) => window.seen.filter(([name]) => name === "data_channel_message").length >= length, lengths);
      assert.deepEqual((await to.run(`() => (${came})().map((data) => data.length ?? data)`)), lengths);
      assert.equal(await to.run(`() => (${came})().every((data) => !data.length || /^(x+|é+)$/.test(data))`), true);
    }
    // If a message is larger than any message may be, its sender gets an error, and the channel continues.
    await pages[0].run(() => {
      window.rtc.broadcast("x".repeat(4_200_000));
      window.rtc.broadcast("and on");
    });
    assert.deepEqual(await pages[0].run(() => window.errors), ["too_large"]);
    await pages[1].until(() => window.seen.some(([, , , data]) => data === "and on"));
    assert.equal(await pages[1].run(() => window.seen.some(([name]) => name === "data_channel_error")), false);
  });
}

for (const newcomer of ["old protocol", "old API"]) {
  test(`11.1: a client of that time gets what one message holds, and the sender is told of more, ${newcomer} comes`, {
    skip: missing("chromium"),
    timeout: TIMEOUT,
  }, async (t) => {
    const { server, browsers } = await stage(t, ["chromium"]);
    const early = newcomer === "old API" ? await openOldProtocol(browsers[0], server) : undefined;
    const page = await openSky(browsers[0], server, { camera: false });
    const old = early ?? (await openOldProtocol(browsers[0], server));
    await old.until(() => Object.values(window.client.dataChannels).some(({ readyState }) => readyState === "open"));
    await hasSeen(page, "data_channel_opened");
    await page.run(() => {
      for (const size of [250_000, 300_000, 1_000_000]) window.rtc.broadcast("x".repeat(size));
      window.rtc.broadcast("é".repeat(150_000));
      window.rtc.broadcast("after it");
    });
    await old.until(() => window.client.messages.some(({ data }) => data === "after it"));
    assert.deepEqual(await old.run(() => window.client.messages.map(({ data }) => data.length)), [250_000, 8]);
    const id = await old.run(() => window.client.me);
    assert.deepEqual((await hasSeen(page, "data_channel_error")).slice(1, 3), ["RTCDataChannel", id]);
    assert.deepEqual(await page.run(() => window.errors), new Array(3).fill("too_large"));
    assert.equal(await page.run(() => Object.values(window.rtc.dataChannels)[0].readyState), "open");
    await old.run(() => window.client.broadcast("and back"));
    await page.until(() => window.seen.some(([, , , data]) => data === "and back"));
  });
}

test("the server's restart is not noticed by a page", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { server, browsers } = await stage(t, ["chromium"]);
  const pages = [await openSky(browsers[0], server), await openSky(browsers[0], server)];
  for (const page of pages) await showsVideos(page, 1);
  const before = await pages[0].run(() => [window.rtc.me, Object.values(window.rtc.peerConnections).length]);
  await pages[0].run(() => {
    window.kept = Object.values(window.rtc.peerConnections)[0];
    window.oldSocket = window.rtc.socket;
  });
  await server.stop();
  await server.restart();
  await pages[0].until(() => window.rtc.socket !== window.oldSocket && window.rtc.socket.readyState === WebSocket.OPEN);
  await pages[0].run(() => window.rtc.broadcast("still here"));
  await pages[1].until(() =>
    window.seen.some(([name, , , text]) => name === "data_channel_message" && text === "still here"),
  );
  assert.deepEqual(await pages[0].run(() => [window.rtc.me, Object.values(window.rtc.peerConnections).length]), before);
  assert.equal(await pages[0].run(() => window.kept === Object.values(window.rtc.peerConnections)[0]), true);
  for (const page of pages) {
    const events = await page.run(() => window.seen.map(([name]) => name));
    for (const name of ["socket_closed", "remove_peer"]) assert.ok(!events.includes(name), name);
    assert.equal(events.filter((name) => name === "connected").length, 1);
  }
});

// ---- URL.createObjectURL ----------------------------------------------------------------------------------------------

for (const kind of ["chromium", "firefox"]) {
  test(`URLs of streams, and all others as ever, in ${kind}`, { skip: missing(kind), timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const page = await (await host.browse(kind)).open("legacy.html");
    const result = await page.run(async () => {
      const canvas = document.createElement("canvas");
      canvas.getContext("2d").fillRect(0, 0, 1, 1);
      const stream = canvas.captureStream(10);
      const token = URL.createObjectURL(stream);
      const [byProperty, byAttribute, reused] = [0, 1, 2].map(() => document.createElement("video"));
      byProperty.src = token;
      byAttribute.setAttribute("SRC", token);
      reused.src = token;
      URL.revokeObjectURL(token);
      const late = document.createElement("video");
      late.src = token;

      const blobUrl = URL.createObjectURL(new Blob(["content"]));
      const text = await (await fetch(blobUrl)).text();
      const image = new Image();
      image.src = URL.createObjectURL(await new Promise((resolve) => canvas.toBlob(resolve)));
      await image.decode();
      reused.src = blobUrl;
      URL.revokeObjectURL(blobUrl);
      const revoked = await fetch(blobUrl).then(
        () => false,
        () => true,
      );
      let refusal;
      try {
        URL.createObjectURL({});
      } catch (error) {
        refusal = error.name;
      }
      byAttribute.removeAttribute("src");
      return {
        property: byProperty.srcObject === stream && byProperty.src === token,
        attributeRemoved: byAttribute.srcObject === null && byAttribute.src === "",
        reused: reused.srcObject === null && reused.src === blobUrl && reused.getAttribute("src") === blobUrl,
        late: late.srcObject === null,
        text,
        revoked,
        refusal,
      };
    });
    assert.deepEqual(result, {
      property: true,
      attributeRemoved: true,
      reused: true,
      late: true,
      text: "content",
      revoked: true,
      refusal: "TypeError",
    });
    assert.equal(
      await page.run(
        () =>
          new Promise((resolve) => {
            const video = document.createElement("video");
            const stream = document.createElement("canvas").captureStream();
            video.setAttribute("src", URL.createObjectURL(stream));
            resolve(video.srcObject === stream);
          }),
      ),
      true,
    );
  });
}

test("only the classic script touches URL", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const browser = await host.browse("chromium");
  const isNative = () => String(URL.createObjectURL).includes("[native code]");
  const modern = await browser.open("sdk.html");
  await modern.until(() => window.member);
  assert.equal(await modern.run(isNative), true);
  assert.equal(await (await browser.open("legacy.html")).run(isNative), false);
});
