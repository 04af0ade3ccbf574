//! Media calls: a client gets URLs, the content goes by HTTP.

use bytes::Bytes;
use nearport_wire::body::{self, MediaAnswer, media_answer, media_call};
use nearport_wire::code;
use prost::Message as _;

use super::Front;
use crate::key::UserKey;
use crate::media::MediaRefusal;
use crate::reply::{Failure, decode};

/// When a client that met a bound may ask again.
const BUSY_AGAIN_MS: u32 = 2_000;

impl Front {
    /// Answers MEDIA.
    pub(super) fn media(&self, user: &UserKey, body: Bytes, now_ms: u64) -> Result<Bytes, Failure> {
        let call: body::MediaCall = decode(body, "media call")?;
        let Some(signer) = self.shared.media.get() else {
            return Err(Failure::new(code::UNKNOWN_REQUEST, "this server takes no files"));
        };
        let answer = match call.call {
            Some(media_call::Call::Begin(begin)) => {
                signer.begin(user, &begin, now_ms).map(media_answer::Answer::Upload)
            }
            Some(media_call::Call::Sign(sign)) => {
                signer.sign(user, &sign.uuid, now_ms).map(media_answer::Answer::Urls)
            }
            None => return Err(Failure::new(code::BAD_PARAMETER, "a media call without a call")),
        };
        let answer = answer.map_err(failure)?;
        Ok(MediaAnswer { answer: Some(answer) }.encode_to_vec().into())
    }
}

fn failure(refusal: MediaRefusal) -> Failure {
    match refusal {
        MediaRefusal::Malformed(why) => Failure::new(code::BAD_PARAMETER, why),
        MediaRefusal::TooLarge(why) => Failure::new(code::CONTENT_TOO_LONG, why),
        MediaRefusal::Busy(why) => {
            Failure { retry_after_ms: BUSY_AGAIN_MS, ..Failure::new(code::TOO_MANY_REQUESTS, why) }
        }
        MediaRefusal::Unavailable(why) => {
            Failure { retry_after_ms: BUSY_AGAIN_MS, ..Failure::new(code::INTERNAL, why) }
        }
    }
}
