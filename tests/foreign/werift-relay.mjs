// werift: two allocations, data from relay to relay by channels.
import { createTurnClient } from "werift";
import { rootOf, run } from "./ends.mjs";

await run(async ({ transport, host, port, username, password, ca }, relay) => {
  const options = { transport, tlsOptions: { ca: rootOf(ca) } };
  const open = () => createTurnClient({ address: [host, port], username, password }, options);
  const ends = [await open(), await open()];
  await Promise.all(ends.map((end, i) => end.getChannel(ends[1 - i].relayedAddress)));
  for (const [sender, receiver] of [ends, ends.toReversed()]) {
    const subscribe = (take) => receiver.onData.subscribe(take);
    await relay((message) => sender.sendData(message, receiver.relayedAddress), subscribe);
  }
  await Promise.all(ends.map((end) => end.close()));
});
