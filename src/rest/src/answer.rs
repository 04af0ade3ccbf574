//! Answers: the envelope that all have.

use nearport_chat::Failure;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::Service;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    pub(crate) info: String,
    /// `FAIL` is not said: some calls say less.
    pub(crate) status: Status,
}

/// How a call went, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum Status {
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "FAIL")]
    Fail,
    /// Of a batch that some did not get.
    SomeError,
}

impl Refusal {
    pub(crate) fn new(code: u32, info: impl Into<String>) -> Self {
        Self { code, info: info.into(), status: Status::Fail }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code, failure.info)
    }
}

/// What every answer has, around what a command says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Envelope<T> {
    #[serde(rename = "ActionStatus")]
    pub(crate) status: Status,
    /// 0: done.
    #[serde(rename = "ErrorCode")]
    pub(crate) code: u32,
    /// For people; empty when done.
    #[serde(rename = "ErrorInfo")]
    pub(crate) info: String,
    /// For users, of some services.
    #[serde(rename = "ErrorDisplay", skip_serializing_if = "Option::is_none")]
    pub(crate) display: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) rest: T,
}

/// What a command says beyond the envelope: nothing.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct Empty {}

impl<T> Envelope<T> {
    pub(crate) fn done(service: Service, status: Status, rest: T) -> Self {
        let display = service.display.then_some("");
        Self { status, code: 0, info: String::new(), display, rest }
    }
}

impl Envelope<Empty> {
    pub(crate) fn refused(display: bool, refusal: Refusal) -> Self {
        let Refusal { code, info, status } = refusal;
        Self { status, code, info, display: display.then_some(""), rest: Empty {} }
    }
}
