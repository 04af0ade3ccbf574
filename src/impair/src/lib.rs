//! What a bad network does to packets: loss, bursts, delay, jitter, overtaking, repeats, a narrow link, an MTU that
//! shrinks, a NAT that forgets, black holes and outages.
//!
//! ```text
//!                     ┌ closed? ─► MTU ─► narrow link ─► loss, bursts ─► delay, jitter ─► held back? ─► twice? ┐
//!  (packet, now) ────►│ outages,          bounded         uniform and     in order, or    overtaken by         │──► Fate
//!                     └ black holes       queue           Gilbert-Elliott not             later ones           ┘
//! ```
//!
//! [`Path::send`] decides about one packet and keeps none: who moves packets puts them into a [`DelayLine`] and takes
//! them out when they are due. Both are pure: time is a [`Duration`](std::time::Duration) since the path exists, chance
//! comes from a seed. The same seed, packets and times give the same fates on every machine. So the simulator (virtual
//! time), the load tool's relay (UDP on loopback) and the laboratory (IP packets between two namespaces) share one
//! network.
//!
//! A [`Spec`] says how bad. It is read from text, and printed as it is read:
//!
//! ```
//! use nearport_impair::Spec;
//!
//! let spec: Spec = "3g,loss=1%,outage=60s@20s,down.mtu=1280".parse()?;
//! assert_eq!(spec.to_string().parse::<Spec>()?, spec);
//! let error = "loss=2%,delay=5x".parse::<Spec>().unwrap_err().to_string();
//! assert_eq!(error, "`delay=5x`, from character 9 on: `5x` is no time: write for example 50ms or 10s");
//! # Ok::<(), nearport_impair::ParseError>(())
//! ```
//!
//! # Words
//!
//! Each may stand for both directions, or for one as `up.loss=2%` (client to server) or `down.loss=2%`.
//!
//! | word | meaning |
//! | --- | --- |
//! | `loss=2%` | each packet on its own |
//! | `burst=20%`, `burst=20%/8`, `burst=20%/8/90%` | share lost in bursts (Gilbert-Elliott); packets per burst (5); loss within a burst (100 %) |
//! | `delay=50ms` | one way |
//! | `jitter=10ms` | up to that much more, evenly spread; in order, unless `order=free` |
//! | `reorder=25%`, `reorder=25%/30ms` | share that comes so much later (20 ms), overtaken by those behind it |
//! | `dup=1%` | comes twice |
//! | `rate=1mbit`, `rate=1mbit/64kb` | a link so narrow, with a queue so long (250 ms, 16 kb at least) |
//! | `mtu=1280`, `mtu=1200@15s` | larger IP packets are dropped, from a time on; may stand several times |
//! | `blackhole=udp`, `blackhole=udp@15s` | `udp`, `tcp` or `all` packets vanish, from a time on |
//! | `outage=60s@20s` | nothing passes for so long, from a time on; may stand several times |
//! | `rebind=10s` | a NAT forgets its mappings every so often (no direction) |
//! | `seed=7` | another run of the dice (no direction) |
//!
//! A name of a [`Profile`] may stand first; what follows changes it.

mod line;
mod parse;
mod path;
mod profile;
pub mod rng;
mod spec;

pub use line::{DelayLine, LineFull};
pub use parse::ParseError;
pub use path::{Cause, Counts, Direction, Fate, Packet, Path, Protocol};
pub use profile::Profile;
pub use rng::Rng;
pub use spec::{Burst, Chance, Closed, Conditions, MtuStep, Rate, Spec, WINDOWS_MAX};
