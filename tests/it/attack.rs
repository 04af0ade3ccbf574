//! Attacks on a real server over real sockets, while two people go on talking on it.
//!
//! Every test here holds three things: what the attacker gets (a close code, silence, a drop that is counted), how much memory
//! the server may need for it (a bound in the test, against the peak that the kernel saw), and that the two lose, double and
//! misorder nothing and get an answer to every message. How long their messages took is printed and never asserted: a test
//! machine has no clock. The figures of record come from `benches/`.
//!
//! Where each line of "Bad input and attacks" is tested. `shard::` is `src/edge/src/shard/tests`, where a whole shard runs without
//! a socket; what begins with a file name of `tests/it` runs on real sockets.
//!
//! | attack | real sockets | below |
//! | --- | --- | --- |
//! | spoofed Initial flood | [`initials`]: budget, Retry, drops counted, memory comes back | `shard::handshakes`, `edge::admission` |
//! | datagrams under 1200 bytes, unknown versions | [`initials`]: no answer at all | `shard::handshakes`, `admission::classify` |
//! | Retry token from another address | [`proof`]: INVALID_TOKEN, nothing kept | `edge::keys` (either epoch) |
//! | 3× amplification limit | [`proof`]: bytes counted on the socket | `shard::quic::unproved` |
//! | path-challenge flood, path responses | [`frames`]: ABUSE | `edge::watchdog` |
//! | connection-id retirement flood, new ids | [`frames`]: ABUSE, or the limits of QUIC | `edge::watchdog` |
//! | stream-gap flood | [`frames`]: ended by QUIC, and as ABUSE below QUIC's bound | `edge::watchdog` |
//! | optimistic acks, floods of acks | [`frames`]: PROTOCOL_VIOLATION, ABUSE | `edge::watchdog` |
//! | open/reset loops, open/end loops | [`frames`]: ABUSE | `edge::watchdog` |
//! | forged, bent and copied connection ids | [`ids`]: never answered, the real one stays where it is | `edge::cid`, `edge_handover` |
//! | a reader that never reads | `streams` (answers, pushes) | `shard::output` (ladder, memory), `shard::streams` |
//! | slow-loris on TLS, HTTP upgrade, frames | [`slow`]: 256 connections, their memory, their end; `streams::who_dawdles_in_any_step_is_gone` (answers) | `shard::streams` |
//! | half-open proxies | [`slow`]: silent, half a header, a header and no client | `shard::streams`, `stream::proxy` |
//! | WebSocket masks and sizes | `streams::each_broken_rule_of_websockets_has_its_status` | `shard::stream::websocket` |
//! | truncated resume tokens | `resume::tokens_that_are_not_good_are_refused_and_a_usersig_still_works` | `shard::resume`, `edge::resume` (each cut) |
//! | wrong epoch | `resume`, `rotation` | `edge::keys`, `edge::tickets`, `edge::cid`, `shard::sessions` (resets) |
//! | clock jumps of ±10 minutes | | `shard::resume` (tokens), `edge::tickets` (tickets), `chat::usersig` (issued ahead): no socket has a clock to turn |
//! | EMFILE | `streams::want_of_descriptors_costs_only_new_connections` | |
//! | a panic inside one connection step | | `shard::sessions` (QUIC), `shard::streams` (TLS, WebSocket), `shard::web`: no bytes of a client are known to raise one |
//! | GSO errors injected | | `edge::socket::sender` |

mod arena;
mod datagrams;
mod frames;
mod ids;
mod initials;
mod proof;
mod slow;
