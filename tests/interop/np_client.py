#!/usr/bin/env python3
"""A client of np/1 on aioquic, written from docs/protocol.md alone: no code of Nearport is in it.

Reads commands from stdin and writes events to stdout, one JSON object a line:

    {"do": "send", "to": "bob", "text": "hi"}      {"event": "sent", "seq": 1, "duplicate": false}
    {"do": "drop"}   loses the connection           {"event": "live", "resumed": true, "cursor": 3, "head": 5}
    {"do": "move"}   changes the local port         {"event": "message", "from": "alice", "text": "hi", "position": 4}
    {"do": "ping"}                                  {"event": "pong"}
    {"do": "quit"}                                  {"event": "go_away", "slot_ms": 10} {"event": "closed", "code": 1000}
"""

import argparse
import asyncio
import json
import os
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

import np_wire as np

ANSWER_TIMEOUT_S = 10


def tell(event: str, **fields) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


class Lost(Exception):
    """The connection ended; carries a close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class Session(QuicConnectionProtocol):
    """One connection with its main stream."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.frames: asyncio.Queue[np.Frame | Lost] = asyncio.Queue(1024)
        self.decoder = np.Decoder()
        self.stream: int | None = None
        self.tickets = []

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived) and event.stream_id == self.stream:
            for frame in self.decoder.feed(event.data):
                self.frames.put_nowait(frame)
        elif isinstance(event, events.ConnectionTerminated):
            self.frames.put_nowait(Lost(event.error_code, event.reason_phrase))

    def send(self, frame: np.Frame) -> None:
        if self.stream is None:
            self.stream = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(self.stream, frame.encode())
        self.transmit()

    async def next(self) -> np.Frame:
        frame = await self.frames.get()
        if isinstance(frame, Lost):
            raise frame
        return frame


class Client:
    """What outlives a connection: cursor, resume token, messages without an answer."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.server = args.server
        self.cursor: int | None = None
        self.token = b""
        self.request = 0
        self.unanswered: dict[bytes, tuple[str, str]] = {}
        self.in_flight: dict[int, bytes] = {}
        self.syncing = False
        self.session: Session | None = None
        self.leaving: asyncio.TimerHandle | None = None
        self.quitting = False

    def configuration(self) -> QuicConfiguration:
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["np/1"], server_name=self.args.server_name, idle_timeout=60
        )
        configuration.load_verify_locations(self.args.ca)
        configuration.verify_mode = ssl.CERT_REQUIRED
        return configuration

    async def run(self, commands: asyncio.Queue) -> None:
        while not self.quitting:
            host, _, port = self.server.rpartition(":")
            try:
                async with connect(
                    host.strip("[]"), int(port), configuration=self.configuration(), create_protocol=Session
                ) as session:
                    self.session = session
                    await self.login(session)
                    await self.live(session, commands)
            except (Lost, ConnectionError, TimeoutError) as lost:
                code = getattr(lost, "code", 2001)
                tell("closed", code=code)
                # The document asks for back-off with jitter; a short fixed pause is enough for one client.
                await asyncio.sleep(0.2)
                if self.token and code == 4000:
                    # The token was refused: once more with the UserSig.
                    self.token = b""
                elif not 2000 <= code < 4000:
                    return
            finally:
                self.in_flight.clear()
                self.syncing = False
                self.session = None
                if self.leaving:
                    self.leaving.cancel()
                    self.leaving = None

    async def login(self, session: Session) -> None:
        args = self.args
        hello = [(1, args.app), (2, args.user), (4, args.device), (5, 7), (7, "np_client.py")]
        hello.append((8, self.token) if self.token else (3, args.usersig))
        if self.cursor is not None:
            hello.append((6, self.cursor))
        session.send(np.Frame(np.CONTROL, np.HELLO, 0, np.encode(hello)))
        frame = await asyncio.wait_for(session.next(), ANSWER_TIMEOUT_S)
        if frame.kind == np.CLOSE:
            close = np.decode(frame.body)
            raise Lost(np.number(close, 1), np.text(close, 2))
        if frame.kind != np.WELCOME:
            raise np.ProtocolError(f"kind {frame.kind:#x} in place of the welcome")
        welcome = np.decode(frame.body)
        resumed, self.token = bool(self.token), welcome.get(8, [b""])[-1]
        self.cursor, head = np.number(welcome, 4), np.number(welcome, 3)
        tell("live", resumed=resumed, cursor=self.cursor, head=head, token_bytes=len(self.token),
             missed=7 in welcome)
        if 7 in welcome:
            self.take_page(session, np.decode(welcome[7][-1]))
        elif head > self.cursor:
            self.sync(session)
        for message_id in list(self.unanswered):
            self.send_message(session, message_id)

    async def live(self, session: Session, commands: asyncio.Queue) -> None:
        reading = asyncio.ensure_future(session.next())
        command = asyncio.ensure_future(commands.get())
        try:
            while True:
                await asyncio.wait({reading, command}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    frame = reading.result()
                    reading = asyncio.ensure_future(session.next())
                    self.handle(session, frame)
                if command.done():
                    what = command.result()
                    command = asyncio.ensure_future(commands.get())
                    if self.obey(session, what):
                        return
        finally:
            reading.cancel()
            if command.done() and not command.cancelled():
                # A command that came with the end of the connection belongs to the next one.
                commands.put_nowait(command.result())
            command.cancel()

    def obey(self, session: Session, what: dict) -> bool:
        """Carries out a command; True: this connection is to be left."""
        match what["do"]:
            case "send":
                message_id = os.urandom(16)
                self.unanswered[message_id] = (what["to"], what["text"])
                self.send_message(session, message_id)
            case "ping":
                session.send(np.Frame(np.CONTROL, np.PING, 7, b""))
            case "move":
                asyncio.ensure_future(move(session))
            case "drop":
                # As if the process had lost its network: not a word to the server.
                session._transport.close()
                return True
            case "quit":
                self.quitting = True
                self.bye(session)
                return True
        return False

    def bye(self, session: Session) -> None:
        session.send(np.Frame(np.CONTROL, np.CLOSE, 0, np.encode([(1, 1000)])))

    def handle(self, session: Session, frame: np.Frame) -> None:
        match frame.kind:
            case np.PUSH if frame.id == 0:
                self.show(0, np.decode(frame.body))
            case np.PUSH:
                if frame.id == self.cursor + 1:
                    self.take(session, frame.id, np.decode(frame.body))
                elif frame.id > self.cursor + 1:
                    self.sync(session)
            case np.BEHIND:
                self.sync(session)
            case np.REPLY if frame.id in self.in_flight:
                self.take_sent(session, self.in_flight.pop(frame.id), np.decode(frame.body))
            case np.REPLY if self.syncing:
                self.take_page(session, np.decode(frame.body))
            case np.ERROR:
                error = np.decode(frame.body)
                message_id = self.in_flight.pop(frame.id, None)
                self.unanswered.pop(message_id, None)
                tell("error", code=np.number(error, 1), info=np.text(error, 2))
            case np.PING:
                session.send(np.Frame(frame.lane, np.PONG, frame.id, b""))
            case np.PONG:
                tell("pong")
            case np.GO_AWAY:
                self.go_away(session, np.decode(frame.body))
            case np.CLOSE:
                close = np.decode(frame.body)
                raise Lost(np.number(close, 1), np.text(close, 2))
            case kind if not 0x12 <= kind < 0x20:
                raise np.ProtocolError(f"kind {kind:#x}")

    def go_away(self, session: Session, away: dict[int, list]) -> None:
        targets = [np.text(np.decode(target), 1) for target in away.get(3, [])]
        tell("go_away", reason=np.number(away, 1), slot_ms=np.number(away, 2), targets=targets)
        if targets:
            self.server = targets[0]
        loop = asyncio.get_running_loop()
        self.leaving = loop.call_later(np.number(away, 2) / 1000, self.leave, session)

    def leave(self, session: Session) -> None:
        self.bye(session)
        # Comes back at once: BYE is ours, so the close that follows is not a reason to stay away.
        session.frames.put_nowait(Lost(2000, "the server asked to leave"))

    def sync(self, session: Session) -> None:
        if not self.syncing:
            self.syncing = True
            self.request += 1
            body = np.encode([(1, self.cursor), (2, 100)])
            session.send(np.Frame(np.BULK, np.SYNC, self.request, body))

    def take_page(self, session: Session, page: dict[int, list]) -> None:
        self.syncing = False
        for entry in map(np.decode, page.get(1, [])):
            position = np.number(entry, 1)
            if position > self.cursor:
                self.take(session, position, np.decode(entry[2][-1]))
        if not np.number(page, 3) or np.number(page, 2) > self.cursor:
            self.sync(session)

    def take(self, session: Session, position: int, delivery: dict[int, list]) -> None:
        self.cursor = position
        self.show(position, delivery)
        session.send(np.Frame(np.CONTROL, np.ACK, position, b""))

    def show(self, position: int, delivery: dict[int, list]) -> None:
        message = np.decode(delivery[1][-1])
        message_id = message.get(3, [b""])[-1]
        if self.unanswered.pop(message_id, None):
            tell("sent", seq=np.number(delivery, 2), duplicate=False)
            return
        elements = np.decode(message[4][-1]).get(1, [])
        texts = [np.text(np.decode(element[1][-1]), 1) for element in map(np.decode, elements) if 1 in element]
        tell("message", position=position, text=" ".join(texts), seq=np.number(delivery, 2),
             **{"from": np.text(message, 1)})

    def send_message(self, session: Session, message_id: bytes) -> None:
        to, text = self.unanswered[message_id]
        content = np.encode([(1, np.encode([(1, np.encode([(1, text)]))]))])
        body = np.encode([(1, message_id), (2, np.encode([(1, to)])), (3, content)])
        self.request += 1
        self.in_flight[self.request] = message_id
        session.send(np.Frame(np.CHAT, np.SEND, self.request, body))

    def take_sent(self, session: Session, message_id: bytes, sent: dict[int, list]) -> None:
        if self.unanswered.pop(message_id, None):
            tell("sent", seq=np.number(sent, 1), duplicate=bool(np.number(sent, 4)))
        position = np.number(sent, 5)
        if position == self.cursor + 1:
            self.cursor = position
        elif position > self.cursor + 1 or np.number(sent, 4):
            self.sync(session)


async def move(session: Session) -> None:
    """Another local port, as after a change of network; the connection does not know."""
    loop = asyncio.get_running_loop()
    old = session._transport
    family = old.get_extra_info("socket").family
    local = ("::", 0) if family.name == "AF_INET6" else ("0.0.0.0", 0)
    await loop.create_datagram_endpoint(lambda: session, local_addr=local)
    old.abort()
    session._quic.send_ping(0)
    session.transmit()
    tell("moved")


async def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("server", "server-name", "ca", "user", "device", "usersig"):
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--app", type=int, required=True)
    args = parser.parse_args()

    commands: asyncio.Queue = asyncio.Queue(1024)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def read_commands() -> None:
        while line := await reader.readline():
            await commands.put(json.loads(line))
        await commands.put({"do": "quit"})

    reading = asyncio.ensure_future(read_commands())
    await Client(args).run(commands)
    reading.cancel()
    tell("over")


asyncio.run(main())
