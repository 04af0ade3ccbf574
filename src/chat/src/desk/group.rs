//! Requests of kind GROUP.

use bytes::Bytes;
use nearport_wire::code;

use super::Caller;
use crate::downs::Downs;
use crate::reply::Failure;
use crate::shared::Shared;

/// Carries out a request and gives the body of its reply.
pub(crate) fn answer(
    _shared: &Shared,
    caller: &Caller,
    body: Bytes,
    _now_ms: u64,
    _out: &mut Downs,
) -> Result<Bytes, Failure> {
    tracing::debug!(?caller, bytes = body.len(), "not offered");
    Err(Failure::new(code::UNKNOWN_REQUEST, "this server does not offer it"))
}
