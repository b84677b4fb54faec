// node-datachannel (libdatachannel, libjuice): a data channel between two peers that only know each other's relay.
// libjuice speaks TURN over UDP only.
import datachannel from "node-datachannel";
import { run } from "./ends.mjs";

await run(async ({ host, port, username, password }, relay) => {
  const configuration = {
    iceServers: [{ hostname: host, port, username, password, relayType: "TurnUdp" }],
    iceTransportPolicy: "relay",
  };
  const peers = ["one", "other"].map((name) => new datachannel.PeerConnection(name, configuration));
  for (const [i, peer] of peers.entries()) {
    const other = peers[1 - i];
    peer.onLocalDescription((sdp, type) => other.setRemoteDescription(sdp, type));
    peer.onLocalCandidate((candidate, mid) => other.addRemoteCandidate(candidate, mid));
  }
  const accepted = new Promise((resolve) => peers[1].onDataChannel(resolve));
  const offered = peers[0].createDataChannel("bytes");
  await new Promise((resolve) => offered.onOpen(resolve));
  const channels = [offered, await accepted];
  for (const [sender, receiver] of [channels, channels.toReversed()]) {
    const subscribe = (take) => receiver.onMessage(take);
    await relay((message) => sender.sendMessageBinary(message), subscribe);
  }
  for (const peer of peers) peer.close();
});
