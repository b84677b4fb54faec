"""aioice: two allocations, data from relay to relay by channels."""

import asyncio
import ssl

import aioice.turn

from ends import arguments, messages, report


class End(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr))


async def main():
    transport, host, port, username, password, ca = arguments()
    context = ssl.create_default_context(cafile=ca) if transport == "tls" else None
    ends = []
    for _ in range(2):
        ends.append(
            await aioice.turn.create_turn_endpoint(
                End,
                (host, port),
                username=username,
                password=password,
                ssl=context,
                transport="udp" if transport == "udp" else "tcp",
            )
        )
    for (sender, _), (receiver, inbox) in (ends, reversed(ends)):
        source, target = (end.get_extra_info("sockname") for end in (sender, receiver))
        # Data that comes before the receiver has permitted the sender is dropped. Sending makes the permission, and
        # aioice does not tell when that is done.
        receiver.sendto(b"permits", source)
        sent = messages()
        while True:
            sender.sendto(b"begin", target)
            try:
                await asyncio.wait_for(inbox.received.get(), 0.2)
                break
            except asyncio.TimeoutError:
                pass
        for message in sent:
            sender.sendto(message, target)
        for message in sent:
            while True:
                data, came_from = await inbox.received.get()
                if data not in (b"begin", b"permits"):
                    break
            assert data == message, f"{len(data)} bytes instead of {len(message)}"
            assert tuple(came_from) == tuple(source), came_from
    report(sent)
    for end, _ in ends:
        end.close()


asyncio.run(asyncio.wait_for(main(), 30))
