"""Frames and bodies of np/1, written from docs/protocol.md and nearport.proto alone.

Bodies are dicts from field number to a list of values: int for a varint, bytes for a length-delimited field.
"""

from dataclasses import dataclass

CONTROL, CHAT, BULK = 0, 1, 2

HELLO, WELCOME, PING, PONG, ACK, GO_AWAY, CLOSE, BEHIND = range(0x01, 0x09)
REPLY, ERROR, PUSH, READ_EVENT = range(0x10, 0x14)
SEND, SYNC = 0x20, 0x21

SERVER_BODY_BYTES_MAX = 262_144


class ProtocolError(Exception):
    """The peer broke the protocol."""


@dataclass
class Frame:
    lane: int
    kind: int
    id: int
    body: bytes

    def encode(self) -> bytes:
        head = quic_varint(len(self.body)) + bytes([self.lane, self.kind]) + quic_varint(self.id)
        return head + self.body


def quic_varint(value: int) -> bytes:
    """RFC 9000 section 16, shortest form."""
    for prefix, size in enumerate((1, 2, 4, 8)):
        if value < 1 << (8 * size - 2):
            return (value | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def read_quic_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """Value and the place behind it; None if bytes are missing."""
    if at >= len(data):
        return None
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        return None
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


class Decoder:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self.buffer = b""

    def feed(self, data: bytes) -> list[Frame]:
        self.buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        length = read_quic_varint(self.buffer, 0)
        if length is None:
            return None
        size, at = length
        if size > SERVER_BODY_BYTES_MAX:
            raise ProtocolError(f"frame of {size} bytes")
        if len(self.buffer) < at + 2:
            return None
        lane, kind = self.buffer[at], self.buffer[at + 1]
        if lane > 3:
            raise ProtocolError(f"lane {lane}")
        request = read_quic_varint(self.buffer, at + 2)
        if request is None or len(self.buffer) < request[1] + size:
            return None
        end = request[1] + size
        frame = Frame(lane, kind, request[0], self.buffer[request[1] : end])
        self.buffer = self.buffer[end:]
        return frame


def varint(value: int) -> bytes:
    """Protobuf's base-128 varint."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(fields: list[tuple[int, int | bytes | str]]) -> bytes:
    """A protobuf message from (number, value) pairs in order."""
    out = b""
    for number, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            out += varint(number << 3 | 2) + varint(len(value)) + value
        else:
            out += varint(number << 3) + varint(value)
    return out


def decode(data: bytes) -> dict[int, list]:
    """A protobuf message; unknown fields stay in it and are nobody's."""
    fields: dict[int, list] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _read_varint(data, at)
        elif wire == 2:
            size, at = _read_varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ProtocolError("a field ends beyond its message")
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ProtocolError(f"wire type {wire}")
        fields.setdefault(number, []).append(value)
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtocolError("a varint without an end")
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return value, at


def number(fields: dict[int, list], key: int) -> int:
    return fields.get(key, [0])[-1]


def text(fields: dict[int, list], key: int) -> str:
    return fields.get(key, [b""])[-1].decode()
