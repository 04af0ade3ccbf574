//! The whole surface: a line for each command.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::OnceLock;

use nearport_chat::admin::{Admin, Asker};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, schema::Schema};

use crate::answer::{Envelope, Refusal, Status};
use crate::effect::Effect;
use crate::http::CallbacksFrom;
use crate::service::{self, Service};
use crate::{
    accounts, contacts, extensions, groups, live_config, messages, mutes, nearport, operations, profile,
    push, sns, status,
};

/// Who asks, and what answers.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) admin: Admin,
    pub(crate) asker: Asker,
    pub(crate) service: Service,
    /// Where it comes from.
    pub(crate) peer: IpAddr,
    pub(crate) callbacks_from: CallbacksFrom,
}

/// Answers of services that have a code for longer ones.
const ANSWER_BYTES_MAX: usize = 1 << 20;

type Answering = Pin<Box<dyn Future<Output = Result<Vec<u8>, Refusal>> + Send>>;
/// Schemas by the names under which others refer to them.
pub(crate) type Schemas = Vec<(String, RefOr<Schema>)>;

/// A command.
pub(crate) struct Command {
    pub(crate) service: Service,
    pub(crate) name: &'static str,
    /// What the audit log has of it.
    pub(crate) effect: Effect,
    /// Calls a second, of one App.
    pub(crate) per_s: u32,
    /// For the OpenAPI document.
    pub(crate) summary: &'static str,
    pub(crate) run: Box<dyn Fn(Call, Vec<u8>) -> Answering + Send + Sync>,
    pub(crate) request: fn(&mut Schemas) -> RefOr<Schema>,
    pub(crate) response: fn(&mut Schemas) -> RefOr<Schema>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service.name, self.name)
    }
}

/// All commands, in the order of the contract's documents.
pub(crate) fn commands() -> &'static [Command] {
    static COMMANDS: OnceLock<Vec<Command>> = OnceLock::new();
    COMMANDS.get_or_init(|| {
        let services = [
            accounts::commands(),
            status::commands(),
            messages::commands(),
            extensions::commands(),
            profile::commands(),
            sns::commands(),
            contacts::commands(),
            mutes::commands(),
            push::commands(),
            groups::commands(),
            operations::commands(),
            live_config::commands(),
            nearport::commands(),
        ];
        services.into_iter().flatten().collect()
    })
}

/// The command at a path, with its place in the table.
///
/// # Errors
/// The code for what is not there.
pub(crate) fn find(service: &str, name: &str) -> Result<(usize, &'static Command), Refusal> {
    static PLACES: OnceLock<HashMap<(&str, &str), usize>> = OnceLock::new();
    let places =
        || commands().iter().enumerate().map(|(at, command)| ((command.service.name, command.name), at));
    if let Some(place) = PLACES.get_or_init(|| places().collect()).get(&(service, name)) {
        return Ok((*place, &commands()[*place]));
    }
    Err(match service::find(service) {
        Some(service) => Refusal::new(service.unknown, format!("{} has no command {name:?}", service.name)),
        None => Refusal::new(60009, format!("there is no service {service:?}")),
    })
}

/// A line of the table: `handler` takes the call and the body, and gives what stands in the answer beside the envelope.
pub(crate) fn command<B, R, F>(
    service: Service,
    name: &'static str,
    per_s: u32,
    summary: &'static str,
    handler: fn(Call, B) -> F,
) -> Command
where
    B: DeserializeOwned + ToSchema + Send + 'static,
    R: Serialize + ToSchema + 'static,
    F: Future<Output = Result<R, Refusal>> + Send + 'static,
{
    let handler = move |call, body| {
        let answering = handler(call, body);
        async move { Ok((Status::Ok, answering.await?)) }
    };
    line(service, name, per_s, summary, handler)
}

/// The same for a handler that also says in a word how it went.
pub(crate) fn command_with_status<B, R, F>(
    service: Service,
    name: &'static str,
    per_s: u32,
    summary: &'static str,
    handler: fn(Call, B) -> F,
) -> Command
where
    B: DeserializeOwned + ToSchema + Send + 'static,
    R: Serialize + ToSchema + 'static,
    F: Future<Output = Result<(Status, R), Refusal>> + Send + 'static,
{
    line(service, name, per_s, summary, handler)
}

fn line<B, R, F>(
    service: Service,
    name: &'static str,
    per_s: u32,
    summary: &'static str,
    handler: impl Fn(Call, B) -> F + Copy + Send + Sync + 'static,
) -> Command
where
    B: DeserializeOwned + ToSchema + Send + 'static,
    R: Serialize + ToSchema + 'static,
    F: Future<Output = Result<(Status, R), Refusal>> + Send + 'static,
{
    let run = move |call: Call, body: Vec<u8>| -> Answering {
        Box::pin(async move {
            let (service, bad) = (call.service, call.service.bad_json);
            // An array would be read as the fields in their order.
            if body.trim_ascii_start().first() != Some(&b'{') {
                return Err(Refusal::new(bad, "the body is no JSON object"));
            }
            let body: B = serde_json::from_slice(&body)
                .map_err(|error| Refusal::new(bad, format!("the body is not what is expected: {error}")))?;
            let (status, rest) = handler(call, body).await?;
            let answer = serde_json::to_vec(&Envelope::done(service, status, rest))
                .map_err(|error| Refusal::new(service.internal, error.to_string()))?;
            match service.too_long {
                Some(code) if answer.len() > ANSWER_BYTES_MAX => {
                    Err(Refusal::new(code, "the answer is longer than 1 MB: ask for less"))
                }
                _ => Ok(answer),
            }
        })
    };
    Command {
        service,
        name,
        effect: Effect::of(name),
        per_s,
        summary,
        run: Box::new(run),
        request: described::<B>,
        response: described::<R>,
    }
}

fn described<T: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    T::schemas(schemas);
    T::schema()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_command_stands_once() {
        let paths: BTreeSet<_> = commands().iter().map(|at| (at.service.name, at.name)).collect();
        assert_eq!(paths.len(), commands().len());
        assert_eq!(find("openim", "nothing").unwrap_err().code, 60009);
        assert_eq!(find("group_open_http_svc", "nothing").unwrap_err().code, 10003);
        assert_eq!(find("nobody", "nothing").unwrap_err().code, 60009);
    }
}
