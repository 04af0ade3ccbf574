//! `nearport send` and `nearport recv`: one message out, what is new in; for scripts.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use nearport_client::{Acks, Client, Event, FROM_NOW, Follow, Message, Receive, Target, group, text, user};
use nearport_wire::body::element::Element;
use serde_json::{Value, json};

use crate::cli::{Failure, runtime};
use crate::cli_client::{LoginArgs, farewell};
use crate::duration;

/// Send one message; prints JSON once it is on the server's disk.
#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    login: LoginArgs,
    /// Who gets it.
    #[arg(long, required_unless_present = "group", conflicts_with = "group")]
    to: Option<String>,
    /// The group that gets it.
    #[arg(long)]
    group: Option<String>,
    /// The device that sends; it shows nothing, so it may be shared by many calls in a row.
    #[arg(long, default_value = "cli-send")]
    device: String,
    /// Longest wait for the acknowledgement.
    #[arg(long, default_value = "15s", value_parser = duration::parse)]
    timeout: Duration,
    /// What it says.
    text: String,
}

impl Send {
    pub(crate) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let client = self.login.login(&self.device, |config| {
                config.cursor = Some(FROM_NOW);
                config.receive = Receive::Nothing;
            });
            let client = client.await?;
            let to = self.group.map_or_else(|| user(self.to.unwrap_or_default()), group);
            let sending = client.send(to, text(self.text));
            let sent = tokio::time::timeout(self.timeout, sending).await;
            let Ok(sent) = sent else {
                return Err(match client.last_refusal() {
                    Some(refusal) => anyhow::anyhow!("not stored in time, the server says: {refusal}").into(),
                    None => {
                        anyhow::anyhow!("no acknowledgement in time: the message may or may not be stored")
                            .into()
                    }
                });
            };
            let sent = sent?;
            print_line(&json!({ "msg_key": sent.msg_key, "seq": sent.seq, "time": sent.time_ms }))?;
            farewell(&client).await;
            Ok(())
        })
    }
}

/// Receive what is new, of groups too; prints one JSON line per message. A second call of the same device shows only what is new.
///
/// A message that was shown before and has changed since comes again with `edit` or `recalled`; tips of groups have `tip` and system notices
/// `notice`. None of these counts for --count.
#[derive(Debug, Args)]
pub(crate) struct Recv {
    #[command(flatten)]
    login: LoginArgs,
    /// The device that receives: the server remembers for each what it has shown.
    #[arg(long, default_value = "cli")]
    device: String,
    /// End after this many messages; it is a failure if they do not come.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End when nothing new came for so long.
    #[arg(long, default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,
    /// Also what this user sent from other devices.
    #[arg(long)]
    own: bool,
}

impl Recv {
    pub(crate) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let me = self.login.user.clone();
            let tune = |config: &mut nearport_client::Config| {
                config.acks = Acks::Manual;
                config.follow = Follow::SinceJoined;
            };
            let client = self.login.clone().login(&self.device, tune).await?;
            let shown = self.receive(&client, &me).await;
            // Also after a failure: what was printed must not come again.
            client.flush().await.context("what was shown could not be noted: it will come again")?;
            farewell(&client).await;
            let shown = shown?;
            if let Some(count) = self.count.filter(|count| shown < *count) {
                let waited = duration::format(self.timeout);
                return Err(
                    anyhow::anyhow!("{shown} of {count} messages came, then nothing for {waited}").into()
                );
            }
            Ok(())
        })
    }

    async fn receive(&self, client: &Client, me: &str) -> anyhow::Result<u64> {
        let mut shown = 0;
        while self.count.is_none_or(|count| shown < count) {
            let next = tokio::select! {
                next = tokio::time::timeout(self.timeout, self.next(client, me)) => next,
                _ = tokio::signal::ctrl_c() => return Ok(shown),
            };
            let Ok(next) = next else { break };
            let (message, counts) = next?;
            print_line(&describe(&message)).context("cannot write to stdout")?;
            acknowledge(client, &message);
            shown += u64::from(counts);
        }
        Ok(shown)
    }

    /// The next message that is to be printed, and whether it counts. Cancel-safe.
    async fn next(&self, client: &Client, me: &str) -> anyhow::Result<(Message, bool)> {
        loop {
            match client.next_event().await {
                Some(Event::Message(message)) if self.own || message.from != me => {
                    let counts = message.tip().is_none();
                    return Ok((message, counts));
                }
                Some(Event::Message(message)) => acknowledge(client, &message),
                Some(Event::Edited(message) | Event::Recalled(message) | Event::Notice { message, .. }) => {
                    return Ok((message, false));
                }
                Some(Event::Stopped { code, reason }) => bail!("{code}: {reason}"),
                Some(Event::Disconnected { reason, retry_in, .. }) => {
                    eprintln!("connection lost ({reason}), next attempt in {}", duration::format(retry_in));
                }
                Some(_) => {}
                None => bail!("the client has stopped"),
            }
        }
    }
}

/// What is printed is shown.
fn acknowledge(client: &Client, message: &Message) {
    match message.group() {
        // The numbers of changes are not kept for a device: it begins behind those that there are.
        Some(group) => client.acknowledge_group(group, message.seq),
        None => client.acknowledge(message.position),
    }
}

pub(crate) fn print_line(value: &Value) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()
}

/// A message as one JSON object; `elements` names every element by the contract's `MsgType`.
fn describe(message: &Message) -> Value {
    let elements = message.content.elements.iter().map(|element| match element.element {
        Some(Element::Text(_)) => "TIMTextElem",
        Some(Element::Face(_)) => "TIMFaceElem",
        Some(Element::Location(_)) => "TIMLocationElem",
        Some(Element::Custom(_)) => "TIMCustomElem",
        Some(Element::Sound(_)) => "TIMSoundElem",
        Some(Element::Image(_)) => "TIMImageElem",
        Some(Element::File(_)) => "TIMFileElem",
        Some(Element::Video(_)) => "TIMVideoFileElem",
        Some(Element::Relay(_)) => "TIMRelayElem",
        Some(Element::Tip(_)) => "TIMGroupTipElem",
        Some(Element::Notice(_)) => "TIMGroupSystemNoticeElem",
        None => "unknown",
    });
    let (to, group) = match &message.to {
        Some(Target::User(name)) => (Some(name), None),
        Some(Target::Group(name)) => (None, Some(name)),
        Some(Target::Notices(_)) => (None, None),
        None => (None, None),
    };
    let mut object = json!({
        "msg_key": message.msg_key,
        "seq": message.seq,
        "time": message.time_ms,
        "from": message.from,
        "to": to,
        "text": message.text(),
        "elements": elements.collect::<Vec<_>>(),
    });
    if let Some(group) = group {
        object["group"] = group.as_str().into();
    }
    if message.edit > 0 {
        object["edit"] = message.edit.into();
    }
    if let Some(recalled) = &message.recalled {
        object["recalled"] =
            json!({ "by": recalled.by, "time": recalled.time_ms, "reason": recalled.reason });
    }
    if let Some(tip) = message.tip() {
        let tip = json!({ "type": tip.r#type, "operator": tip.operator, "members": tip.members });
        object["tip"] = tip;
    }
    if let Some(notice) = message.notice() {
        object["notice"] = json!({
            "type": notice.r#type,
            "group": notice.group,
            "operator": notice.operator,
            "text": notice.text,
        });
    }
    object
}
