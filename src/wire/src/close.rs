//! Close codes: why a session ended, and in their ranges whether and when to come back.
//!
//! | range | meaning for the client |
//! | --- | --- |
//! | 1000-1999 | ended as wanted: do not come back by yourself |
//! | 2000-2999 | come back now, with jitter |
//! | 3000-3999 | come back later: back off, or wait for `retry_after_ms` |
//! | 4000-4999 | do not come back until something changed: another UserSig, App, version |
//! | 5000-5999 | the peer broke the protocol: a bug, do not come back by yourself |
//!
//! The same number is the application error code of the QUIC connection close.

/// A close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u32);

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// Not by itself.
    No,
    /// At once, with jitter.
    Now,
    /// After a back-off, or when the server said.
    Later,
    /// Only with other credentials or another version.
    AfterChange,
}

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        impl CloseCode {
            $($(#[doc = $doc])+ pub const $name: Self = Self($code);)+

            /// The name, as metrics and logs print it; `UNKNOWN` for a number not in the table.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)+
                    _ => "UNKNOWN",
                }
            }

            /// Every code in the table.
            pub const ALL: &'static [Self] = &[$(Self($code),)+];
        }
    };
}

close_codes! {
    /// The client said good-bye.
    BYE = 1000;
    /// Another login of the same user and device took over.
    KICKED = 1001;
    /// The server goes away or restarts; another one, or the same, takes over.
    GOING_AWAY = 2000;
    /// The transport broke or went silent.
    LOST = 2001;
    /// Too slow a reader; sync after coming back.
    SLOW = 2002;
    /// The server is busy.
    BUSY = 3000;
    /// The backend cannot be reached or cannot write.
    UNAVAILABLE = 3001;
    /// Something failed inside the server.
    INTERNAL = 3002;
    /// No hello, or half a frame and then silence. A bad path looks like that too, so it is no fault of the client.
    TIMEOUT = 3003;
    /// The UserSig is wrong or expired; `Close.reason` names the 70xxx code.
    UNAUTHORIZED = 4000;
    /// The App does not exist or is disabled.
    NO_APP = 4001;
    /// The client's protocol version is not spoken here.
    VERSION = 4002;
    /// A frame is longer than the limit.
    FRAME_TOO_LONG = 5000;
    /// A frame kind that its sender may not send, or that is unknown.
    BAD_KIND = 5001;
    /// A session body is not what its kind says.
    BAD_BODY = 5002;
    /// A frame out of turn: a second hello, or anything before the first.
    OUT_OF_TURN = 5003;
    /// Bytes that are no frame.
    BAD_FRAME = 5004;
    /// More requests in flight than allowed.
    TOO_MANY_REQUESTS = 5005;
    /// A QUIC stream that the protocol has no use for.
    BAD_STREAM = 5006;
    /// Frames that QUIC allows and that make nothing but work: floods of path challenges, connection ids, pings.
    ABUSE = 5007;
}

impl CloseCode {
    /// What the range says. Numbers outside the table follow their range; outside all ranges: later.
    #[must_use]
    pub fn returns(self) -> Return {
        match self.0 {
            1000..2000 | 5000..6000 => Return::No,
            2000..3000 => Return::Now,
            4000..5000 => Return::AfterChange,
            _ => Return::Later,
        }
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.name())
    }
}
