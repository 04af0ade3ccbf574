// A browser's client of `np/1`, written from docs/protocol.md: logs in over WebTransport, asks on two lanes, takes a datagram, says
// good-bye, and posts what happened to the server that gave it this page.
//
// The page's query: `port` of the gateway, `hash`, the SHA-256 of its certificate in hex.

const CONTROL = 0, CHAT = 1, BULK = 2;
const HELLO = 0x01, WELCOME = 0x02, PING = 0x03, PONG = 0x04, CLOSE = 0x07;
const REPLY = 0x10, PUSH = 0x12, ECHO = 0x70, BROADCAST = 0x71;

const text = new TextEncoder();

function varint(value) {
  if (value < 64) return [value];
  if (value < 16384) return [0x40 | value >> 8, value & 0xff];
  return [0x80 | value >>> 24, value >>> 16 & 0xff, value >>> 8 & 0xff, value & 0xff];
}

function readVarint(bytes, at) {
  if (at >= bytes.length) return null;
  const len = 1 << (bytes[at] >> 6);
  if (at + len > bytes.length) return null;
  let value = bytes[at] & 0x3f;
  for (let i = 1; i < len; i++) value = value * 256 + bytes[at + i];
  return { value, next: at + len };
}

function encode(lane, kind, id, body = []) {
  return Uint8Array.from([...varint(body.length), lane, kind, ...varint(id), ...body]);
}

// The frame at the front of `bytes`, or null if it is not complete.
function decode(bytes) {
  const length = readVarint(bytes, 0);
  if (!length) return null;
  const id = readVarint(bytes, length.next + 2);
  if (!id || id.next + length.value > bytes.length) return null;
  const end = id.next + length.value;
  const [lane, kind] = bytes.subarray(length.next);
  return { lane, kind, id: id.value, body: bytes.subarray(id.next, end), end };
}

// A protobuf `Hello` with app 1, a user and a device.
function hello(user, device) {
  const string = (field, value) => [field << 3 | 2, value.length, ...text.encode(value)];
  return [1 << 3, 1, ...string(2, user), ...string(4, device)];
}

class Stream {
  constructor({ readable, writable }) {
    this.reader = readable.getReader();
    this.writer = writable.getWriter();
    this.bytes = new Uint8Array();
  }

  send(...frame) {
    return this.writer.write(encode(...frame));
  }

  async next() {
    for (;;) {
      const frame = decode(this.bytes);
      if (frame) {
        this.bytes = this.bytes.slice(frame.end);
        return frame;
      }
      const { value, done } = await this.reader.read();
      if (done) throw new Error("the stream ended");
      this.bytes = Uint8Array.from([...this.bytes, ...value]);
    }
  }
}

function expect(frame, lane, kind, id, bodyLength) {
  const got = [frame.lane, frame.kind, frame.id, frame.body.length];
  const want = [lane, kind, id, bodyLength ?? frame.body.length];
  if (got.join() !== want.join()) throw new Error(`got ${got}, not ${want}`);
}

async function run(steps) {
  const query = new URLSearchParams(location.search);
  const hash = Uint8Array.from(query.get("hash").match(/../g), (octet) => parseInt(octet, 16));
  const transport = new WebTransport(`https://127.0.0.1:${query.get("port")}/np`, {
    serverCertificateHashes: [{ algorithm: "sha-256", value: hash }],
  });
  await transport.ready;
  steps.push("ready");

  const main = new Stream(await transport.createBidirectionalStream());
  await main.send(CONTROL, HELLO, 0, hello("browser", "tab"));
  expect(await main.next(), CONTROL, WELCOME, 0);
  steps.push("welcome");

  for (let id = 1; id <= 20; id++) {
    const body = new Uint8Array(id * 700).fill(id);
    await main.send(CHAT, ECHO, id, body);
    expect(await main.next(), CHAT, REPLY, id, body.length);
  }
  steps.push("echo");

  const bulk = new Stream(await transport.createBidirectionalStream());
  await bulk.send(BULK, ECHO, 30, text.encode("history"));
  expect(await bulk.next(), BULK, REPLY, 30, 7);
  steps.push("lane");

  const datagrams = transport.datagrams.readable.getReader();
  await main.send(CHAT, BROADCAST, 31, text.encode("to all"));
  expect(decode((await datagrams.read()).value), CHAT, PUSH, 0, 6);
  expect(await main.next(), CHAT, REPLY, 31);
  // A datagram may be lost even here, if the browser's queue is full: ask again until one is answered.
  const writer = transport.datagrams.writable.getWriter();
  const ping = setInterval(() => writer.write(encode(CONTROL, PING, 32)).catch(() => {}), 100);
  expect(await main.next(), CONTROL, PONG, 32);
  clearInterval(ping);
  steps.push("datagram");

  await main.send(CONTROL, CLOSE, 0);
  // The capsule that ends the session may overtake the CLOSE frame: a browser drops what its streams still hold.
  const { closeCode, reason } = await transport.closed;
  steps.push("closed");
  return { closeCode, reason };
}

const steps = [];
const outcome = await run(steps).catch((error) => ({ error: `${error.name}: ${error.message}` }));
await fetch("result", { method: "POST", body: JSON.stringify({ steps, ...outcome }) });
