//! The record layer of an established TLS 1.3 connection (RFC 8446 §5): what is left once the handshake is over.
//!
//! rustls' own connection keeps 3.6 KB for this, and copies each record into a buffer of its own in both directions.
//! What a connection needs are two keys, two counters, and the key schedule for updates: 1.2 KB. So after the handshake the
//! secrets go from rustls to here by its documented way for such takers ([`rustls::kernel`]), which keeps the key schedule;
//! the ciphers are those of aws-lc, as in rustls, and their contexts are kept as QUIC's are, while they are in use. Records
//! are opened where they lie and sealed where they are written: between records there is no buffer.
//!
//! This module knows only what may come after a handshake: application data, alerts and KeyUpdate. Everything else ends
//! the connection with the alert that the RFC names.

use std::fmt;
use std::mem;
use std::ops::Range;

use rustls::ConnectionTrafficSecrets;
use rustls::kernel::KernelConnection;
use rustls::quic::PacketKey as _;
use rustls::server::ServerConnectionData;

use crate::quic::SmallPacketKey;

/// Content type, two octets of version, two of length.
pub(crate) const HEADER_BYTES: usize = 5;

/// Largest plaintext of a record.
pub(crate) const PLAINTEXT_BYTES_MAX: usize = 1 << 14;

/// Largest length field: plaintext, content type, padding and tag take at most 256 more (§5.2).
const CIPHERTEXT_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + 256;

const TAG_BYTES: usize = 16;

/// What a record adds to its plaintext.
#[cfg(test)]
pub(crate) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;

/// Records without data that may come in a row. Each costs us work and its sender next to nothing; no honest
/// peer sends more than a few.
const EMPTY_RECORDS_MAX: u8 = 32;

/// Records under one key after which we move on to the next: AES-GCM seals 2^24.5 (§5.5); ChaCha20 would go on for ever.
const RECORDS_MAX: u64 = 1 << 24;

mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}

/// Alerts (§6) that this side sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
    InternalError = 80,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Broken {
    /// What to tell the peer; `None` if it was the peer who ended it.
    pub(crate) alert: Option<Alert>,
    pub(crate) reason: &'static str,
}

const fn broken(alert: Alert, reason: &'static str) -> Broken {
    Broken { alert: Some(alert), reason }
}

/// One direction: a key and the number of the next record. A number is used once: it never goes back, and it is far from
/// its end when the key is renewed.
struct Direction {
    key: SmallPacketKey,
    sequence: u64,
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        Some(Self { key: SmallPacketKey::for_records(secrets)?, sequence })
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }
}

/// An established connection.
pub(crate) struct Traffic {
    receive: Direction,
    send: Direction,
    /// Gives the next keys.
    schedule: KernelConnection<ServerConnectionData>,
    /// Ciphertext that waits for the rest of its record; behind a handshake it may hold whole records too.
    held: Vec<u8>,
    /// How much of `held` was opened.
    held_at: usize,
    /// The front of a handshake message that came in pieces, which a KeyUpdate may.
    partial: [u8; KEY_UPDATE.len()],
    partial_len: u8,
    empty_records: u8,
    peer_closed: bool,
    /// The peer asks for our next key.
    update_wanted: bool,
}

/// A KeyUpdate but for its one octet of content: type 24, length 1 (§4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// Where opened plaintext lies.
enum Opened<'i> {
    Input(&'i mut [u8]),
    Held(Range<usize>),
}

impl Traffic {
    /// Takes over from a handshake. `held` are octets that came behind it. `None` for a cipher suite that is not known
    /// here, which a configuration for TLS 1.3 does not have.
    pub(crate) fn new(
        secrets: rustls::ExtractedSecrets,
        schedule: KernelConnection<ServerConnectionData>,
        held: Vec<u8>,
    ) -> Option<Self> {
        Some(Self {
            receive: Direction::new(secrets.rx)?,
            send: Direction::new(secrets.tx)?,
            schedule,
            held,
            held_at: 0,
            partial: [0; KEY_UPDATE.len()],
            partial_len: 0,
            empty_records: 0,
            peer_closed: false,
            update_wanted: false,
        })
    }

    /// Whether the peer has said that nothing more comes.
    pub(crate) fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether the peer owes the rest of a record, which takes memory here.
    pub(crate) fn is_mid_record(&self) -> bool {
        self.held_at < self.held.len()
    }

    /// The next plaintext in front of `input`, never empty; `None` if all of it was taken. Call it until `None` before
    /// the next input: what is held is given back then.
    ///
    /// # Errors
    /// [`Broken`]: send its alert and end the connection.
    pub(crate) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<&'a mut [u8]>, Broken> {
        let opened = loop {
            if self.peer_closed {
                *input = &mut [];
                self.held = Vec::new();
                self.held_at = 0;
                return Ok(None);
            }
            let opened = if self.fill_held(input)? {
                let Some(record) = record_len(&self.held[self.held_at..])? else { return Ok(None) };
                let (start, end) = (self.held_at, self.held_at + record);
                self.held_at = end;
                // `held` is lent out for the call, so that the key can be borrowed beside it.
                let mut held = mem::take(&mut self.held);
                let opened = self.open(&mut held[start..end]);
                self.held = held;
                let (kind, plain) = opened?;
                let at = start + HEADER_BYTES;
                (kind, Opened::Held(at + plain.start..at + plain.end))
            } else {
                let Some(record) = record_len(input)? else {
                    self.held.extend_from_slice(input);
                    *input = &mut [];
                    return Ok(None);
                };
                let (record, rest) = mem::take(input).split_at_mut(record);
                *input = rest;
                let (kind, plain) = self.open(record)?;
                (kind, Opened::Input(&mut record[HEADER_BYTES..][plain]))
            };
            if let Some(data) = self.sort(opened)? {
                break data;
            }
        };
        Ok(Some(match opened {
            Opened::Input(plain) => plain,
            Opened::Held(plain) => &mut self.held[plain],
        }))
    }

    /// Completes the record that is held, if one is. Returns whether there is one in `held` to look at; gives the
    /// buffer back if not.
    fn fill_held(&mut self, input: &mut &mut [u8]) -> Result<bool, Broken> {
        if self.held_at == self.held.len() {
            self.held = Vec::new();
            self.held_at = 0;
            return Ok(false);
        }
        if self.held_at > 0 && record_len(&self.held[self.held_at..])?.is_none() {
            self.held.drain(..self.held_at);
            self.held_at = 0;
        }
        // First to the end of the header, then to the end of the record.
        loop {
            let have = &self.held[self.held_at..];
            let want = if have.len() < HEADER_BYTES { HEADER_BYTES } else { HEADER_BYTES + body_len(have)? };
            let take = want.saturating_sub(have.len()).min(input.len());
            if take == 0 {
                return Ok(true);
            }
            let (part, rest) = mem::take(input).split_at_mut(take);
            *input = rest;
            self.held.extend_from_slice(part);
        }
    }

    /// Deals with what is not data.
    fn sort<'i>(&mut self, (kind, opened): (u8, Opened<'i>)) -> Result<Option<Opened<'i>>, Broken> {
        let plain = match &opened {
            Opened::Input(plain) => &**plain,
            Opened::Held(plain) => &self.held[plain.clone()],
        };
        if self.partial_len > 0 && kind != content::HANDSHAKE {
            return Err(broken(
                Alert::UnexpectedMessage,
                "a record between the pieces of a handshake message",
            ));
        }
        match kind {
            content::APPLICATION_DATA if !plain.is_empty() => {
                self.empty_records = 0;
                return Ok(Some(opened));
            }
            content::APPLICATION_DATA => {}
            content::ALERT => match *plain {
                // Closing is the only alert that is no failure; its level does not count (§6).
                [_, 0] => {
                    self.peer_closed = true;
                    return Ok(None);
                }
                // user_canceled: a close_notify follows.
                [_, 90] => {}
                [_, _] => return Err(Broken { alert: None, reason: "the client sent an alert" }),
                _ => return Err(broken(Alert::DecodeError, "an alert that is not two octets")),
            },
            content::HANDSHAKE => {
                let (message, len) = (plain.first_chunk::<5>().copied(), plain.len());
                let piece: [u8; 5] = message.unwrap_or_else(|| {
                    let mut piece = [0; 5];
                    piece[..len].copy_from_slice(plain);
                    piece
                });
                self.handshake(&piece, len)?;
            }
            _ => return Err(broken(Alert::UnexpectedMessage, "a record of an unknown type")),
        }
        self.empty_records += 1;
        if self.empty_records > EMPTY_RECORDS_MAX {
            return Err(broken(Alert::UnexpectedMessage, "too many records without data"));
        }
        Ok(None)
    }

    /// A piece of a KeyUpdate. It must end its record: the next record is under the next key (§5.1).
    fn handshake(&mut self, piece: &[u8; 5], len: usize) -> Result<(), Broken> {
        let have = usize::from(self.partial_len);
        if len == 0 || have + len > KEY_UPDATE.len() {
            return Err(broken(Alert::UnexpectedMessage, "a handshake message other than one KeyUpdate"));
        }
        self.partial[have..have + len].copy_from_slice(&piece[..len]);
        let have = have + len;
        let fixed = have.min(KEY_UPDATE.len() - 1);
        if self.partial[..fixed] != KEY_UPDATE[..fixed] {
            return Err(broken(Alert::UnexpectedMessage, "a handshake message other than KeyUpdate"));
        }
        if have < KEY_UPDATE.len() {
            self.partial_len = u8::try_from(have).expect("at most 5");
            return Ok(());
        }
        self.partial_len = 0;
        match self.partial[4] {
            0 => {}
            1 => self.update_wanted = true,
            _ => return Err(broken(Alert::IllegalParameter, "a KeyUpdate that neither asks nor does not")),
        }
        let failed = broken(Alert::InternalError, "no next key");
        self.receive = self.schedule.update_rx_secret().ok().and_then(Direction::new).ok_or(failed)?;
        Ok(())
    }

    /// Opens one record in place. Gives the type of its content and where that lies behind the header.
    fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), Broken> {
        let (header, body) = record.split_first_chunk_mut::<HEADER_BYTES>().expect("record_len saw a header");
        let number = self.receive.next();
        let plain = self.receive.key.decrypt_in_place(number, header, body);
        let plain = plain.map_err(|_| broken(Alert::BadRecordMac, "a record that its key does not open"))?;
        if plain.len() > PLAINTEXT_BYTES_MAX + 1 {
            return Err(broken(Alert::RecordOverflow, "a record above 16 KiB"));
        }
        // The last octet that is not zero is the type; zeroes behind it are padding (§5.4).
        let end = plain.iter().rposition(|octet| *octet != 0);
        let end = end.ok_or(broken(Alert::UnexpectedMessage, "a record of nothing but padding"))?;
        Ok((plain[end], 0..end))
    }

    /// Begins a record of application data behind `out`; the caller appends up to [`PLAINTEXT_BYTES_MAX`] to it and then
    /// calls [`Self::seal`].
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) -> usize {
        if self.update_wanted || self.is_key_worn() {
            self.update(out);
        }
        begin(out)
    }

    /// Seals the record that [`Self::begin`] began at `start`.
    pub(crate) fn seal(&mut self, start: usize, out: &mut Vec<u8>) {
        self.seal_as(content::APPLICATION_DATA, start, out);
    }

    /// Whether [`Self::poll`] has something to say.
    pub(crate) fn has_output(&self) -> bool {
        self.update_wanted
    }

    /// What has to be said without being asked: the answer to a KeyUpdate.
    pub(crate) fn poll(&mut self, out: &mut Vec<u8>) {
        if self.update_wanted {
            self.update(out);
        }
    }

    /// Writes an alert. After any of them nothing more is written.
    pub(crate) fn alert(&mut self, alert: Alert, out: &mut Vec<u8>) {
        let start = begin(out);
        // Level warning for closing, fatal for all others.
        out.extend_from_slice(&[if alert == Alert::CloseNotify { 1 } else { 2 }, alert as u8]);
        self.seal_as(content::ALERT, start, out);
    }

    fn is_key_worn(&self) -> bool {
        self.send.sequence >= RECORDS_MAX
    }

    fn update(&mut self, out: &mut Vec<u8>) {
        self.update_wanted = false;
        // The schedule gives keys as long as the suite is one of TLS 1.3, which it is.
        let Some(next) = self.schedule.update_tx_secret().ok().and_then(Direction::new) else { return };
        let start = begin(out);
        out.extend_from_slice(&KEY_UPDATE);
        self.seal_as(content::HANDSHAKE, start, out);
        self.send = next;
    }

    fn seal_as(&mut self, kind: u8, start: usize, out: &mut Vec<u8>) {
        out.push(kind);
        let body = start + HEADER_BYTES;
        let length = u16::try_from(out.len() - body + TAG_BYTES).expect("at most 16 KiB, a type and a tag");
        let [high, low] = length.to_be_bytes();
        let header = [content::APPLICATION_DATA, 3, 3, high, low];
        out[start..body].copy_from_slice(&header);
        let number = self.send.next();
        let tag = self.send.key.encrypt_in_place(number, &header, &mut out[body..]);
        out.extend_from_slice(tag.expect("a record is shorter than what a key may seal").as_ref());
    }

    #[cfg(test)]
    pub(super) fn wear_key(&mut self) {
        self.send.sequence = RECORDS_MAX;
    }

    #[cfg(test)]
    pub(super) fn held_capacity(&self) -> usize {
        self.held.capacity()
    }
}

fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    start
}

/// The size of the record in front of `bytes`, if all of it is there.
fn record_len(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    if bytes.len() < HEADER_BYTES {
        return Ok(None);
    }
    let len = HEADER_BYTES + body_len(bytes)?;
    Ok((bytes.len() >= len).then_some(len))
}

/// The length field of a whole header, which is judged here.
fn body_len(header: &[u8]) -> Result<usize, Broken> {
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    match header[0] {
        content::APPLICATION_DATA => {}
        content::CHANGE_CIPHER_SPEC | content::ALERT | content::HANDSHAKE => {
            return Err(broken(Alert::UnexpectedMessage, "a record that is not encrypted"));
        }
        _ => return Err(broken(Alert::UnexpectedMessage, "octets that are no TLS record")),
    }
    if length > CIPHERTEXT_BYTES_MAX {
        return Err(broken(Alert::RecordOverflow, "a record above 16 KiB"));
    }
    if length < TAG_BYTES + 1 {
        return Err(broken(Alert::DecodeError, "a record shorter than its tag"));
    }
    Ok(length)
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("held", &self.held.len()).finish_non_exhaustive()
    }
}
