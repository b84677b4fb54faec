"""libnice: two agents that are told each other's relayed candidate alone, with a reliable stream between them.

libnice's TURN over TLS is none (it sends a fixed greeting of an old Google server and goes on in clear), so the test has it
speak UDP and TCP."""

import os
import sys
import threading

import gi

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402

from ends import arguments, messages, report  # noqa: E402

RELAY_TYPES = {"udp": Nice.RelayType.UDP, "tcp": Nice.RelayType.TCP}


def agent(transport, host, port, username, password):
    made = Nice.Agent.new_full(
        GLib.MainContext.default(), Nice.Compatibility.RFC5245, Nice.AgentOption.RELIABLE
    )
    made.set_property("upnp", False)
    made.set_property("force-relay", True)
    # The stream is reliable but does not use TCP candidates: between relays it is UDP.
    made.set_property("ice-tcp", False)
    local = Nice.Address.new()
    assert local.set_from_string("127.0.0.1")
    made.add_local_address(local)
    stream = made.add_stream(1)
    # This requires an IP address.
    made.set_relay_info(stream, 1, host, port, username, password, RELAY_TYPES[transport])
    return made, stream


def main():
    transport, _, port, username, password, _ = arguments()
    loop = GLib.MainLoop()
    ends = [agent(transport, "127.0.0.1", port, username, password) for _ in range(2)]
    ends[0][0].set_property("controlling-mode", True)
    ends[1][0].set_property("controlling-mode", False)
    gathered, ready, arrived = set(), set(), {0: b"", 1: b""}
    expected = b"".join(messages())

    def exchange():
        for (mine, stream), (other, others) in (ends, ends[::-1]):
            _, user, secret = other.get_local_credentials(others)
            mine.set_remote_credentials(stream, user, secret)
            mine.set_remote_candidates(stream, 1, other.get_local_candidates(others, 1))

    def on_gathered(_agent, _stream, i):
        gathered.add(i)
        if len(gathered) == 2:
            exchange()

    def on_state(made, stream, component, state, i):
        if state == int(Nice.ComponentState.FAILED):
            sys.exit("failed")
        if state == int(Nice.ComponentState.READY) and i not in ready:
            ready.add(i)
            if len(ready) == 2:
                for stream in streams:
                    # Writing waits until the other side is ready too, which needs this loop.
                    write = stream.get_output_stream().write_all
                    threading.Thread(target=write, args=[expected], daemon=True).start()

    def read(source, i):
        source.read_bytes_async(2048, GLib.PRIORITY_DEFAULT, None, on_read, i)

    def on_read(source, result, i):
        arrived[i] += source.read_bytes_finish(result).get_data()
        assert expected.startswith(arrived[i]), "other bytes"
        if len(arrived[i]) < len(expected):
            read(source, i)
        elif all(data == expected for data in arrived.values()):
            loop.quit()

    streams = []
    for i, (made, stream) in enumerate(ends):
        made.connect("candidate-gathering-done", on_gathered, i)
        made.connect("component-state-changed", on_state, i)
        # An agent only listens while somebody reads.
        streams.append(made.get_io_stream(stream, 1))
        read(streams[i].get_input_stream(), i)
        assert made.gather_candidates(stream)
    GLib.timeout_add_seconds(30, lambda: sys.exit("timed out"))
    loop.run()
    report(messages())


main()
