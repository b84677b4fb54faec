"""libwebrtc (PyPI's wrtc): a data channel between two peers that know each other's relay alone.

Over TLS it trusts the roots that it was built with and no others, and takes no exception, so the test has it speak UDP and
TCP."""

import asyncio

import webrtc

from ends import arguments, messages, report


def peer(transport, host, port, username, password):
    server = webrtc.RTCIceServer(
        urls=[f"turn:{host}:{port}?transport={transport}"], username=username, credential=password
    )
    return webrtc.RTCPeerConnection(
        webrtc.RTCConfiguration(ice_servers=[server], ice_transport_policy=webrtc.RTCIceTransportPolicy.relay)
    )


async def main():
    transport, host, port, username, password, _ = arguments()
    ends = [peer(transport, host, port, username, password) for _ in range(2)]
    offered = ends[0].create_data_channel("bytes")
    accepted = asyncio.get_running_loop().create_future()
    ends[1].on("datachannel", lambda event: accepted.set_result(event.channel))
    for end, other in (ends, reversed(ends)):
        end.on(
            "icecandidate",
            lambda event, other=other: event.candidate
            and asyncio.ensure_future(other.add_ice_candidate(event.candidate)),
        )
    opened = asyncio.Event()
    offered.on("open", lambda _: opened.set())
    await ends[0].set_local_description(await ends[0].create_offer())
    await ends[1].set_remote_description(ends[0].local_description)
    await ends[1].set_local_description(await ends[1].create_answer())
    await ends[0].set_remote_description(ends[1].local_description)
    await opened.wait()
    channels = [offered, await accepted]
    for sender, receiver in (channels, reversed(channels)):
        received = asyncio.Queue()
        receiver.on("message", lambda event: received.put_nowait(event.data))
        sent = messages()
        for message in sent:
            sender.send(message)
        for message in sent:
            data = await received.get()
            assert bytes(data) == message, f"{len(data)} bytes instead of {len(message)}"
    report(sent)
    for end in ends:
        end.close()


asyncio.run(asyncio.wait_for(main(), 30))
