//! Sending the clients away: for a restart, or because an operator says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearport_api::Health;
use nearport_edge::Edge;
use nearport_edge::shard::Departure;
use nearport_wire::body::Endpoint;

use crate::control::{Answer, Channel, ControlError};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// How long sessions that were closed may take to be gone.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How the clients of a node go.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How long `/readyz` says no before anybody is asked.
    pub(crate) delay: Duration,
    /// Time for them; then the rest is closed.
    pub(crate) within: Duration,
    /// Where to.
    pub(crate) targets: Vec<Endpoint>,
}

/// Runs a plan to its end. `/readyz` says no from the start; clients are asked to leave in the first half of
/// [`Plan::within`], and what is left at its end is closed resumably. Progress goes to `channel`. Returns how many had to be
/// closed.
///
/// Once `undone` is set nobody is closed any more. A dropped future goes on in the background until then.
pub(crate) async fn drain(
    edge: Arc<Edge>,
    health: Arc<Health>,
    plan: Plan,
    channel: Option<Channel>,
    undone: Arc<AtomicBool>,
) -> u64 {
    health.withdraw("draining");
    tracing::info!(sessions = edge.sessions(), delay = ?plan.delay, "draining: not ready any more");
    tokio::time::sleep(plan.delay).await;
    let Plan { within, targets, .. } = plan;
    tracing::info!(
        sessions = edge.sessions(),
        ?within,
        targets = targets.len(),
        "draining: clients are asked to leave"
    );
    let work = move || {
        edge.leave(&Departure { within: within / 2, targets: targets.into(), accept: false });
        let (deadline, mut channel) = (Instant::now() + within, channel);
        let mut tell = |answer: Answer| {
            // Who asked and went away is no reason to stop.
            if channel.as_ref().is_some_and(|channel| channel.send(&answer, &[]).is_err()) {
                channel = None;
            }
        };
        let left = loop {
            let left = edge.wait_for_empty((Instant::now() + TELL_EVERY).min(deadline));
            if undone.load(Ordering::Acquire) {
                return left;
            }
            if left == 0 || Instant::now() >= deadline {
                break left;
            }
            tell(Answer::Draining { sessions: left });
        };
        if left > 0 {
            tracing::warn!(sessions = left, "closing sessions that did not leave in time");
            edge.close_sessions();
            let _ = edge.wait_for_empty(Instant::now() + CLOSE_MAX);
        }
        tracing::info!(closed = left, "drained");
        tell(Answer::Done { sessions: left });
        left
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

/// Reads a target: `IP:PORT`, or `IP:PORT/NAME` with the name in that server's certificate.
///
/// # Errors
/// A sentence that shows the form.
pub(crate) fn target(text: &str) -> Result<Endpoint, String> {
    let (address, name) = text.split_once('/').unwrap_or((text, ""));
    let named =
        name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    match address.parse::<SocketAddr>() {
        Ok(parsed) if parsed.port() != 0 && !parsed.ip().is_unspecified() && named => {
            Ok(Endpoint { address: parsed.to_string(), server_name: name.to_owned() })
        }
        _ => Err(format!(
            "`{text}` is no target: write IP:PORT, or IP:PORT/NAME with the name in its certificate"
        )),
    }
}

/// Reads several; see [`target`]. At most 16: a frame holds them all.
pub(crate) fn targets(texts: &[String]) -> Result<Vec<Endpoint>, String> {
    if texts.len() > 16 {
        return Err(format!("{} targets: at most 16", texts.len()));
    }
    texts.iter().map(|text| target(text)).collect()
}

/// Asks the node on `data` and shows its progress; returns how many sessions it had to close, or has.
pub(crate) fn follow(channel: &Channel, mut show: impl FnMut(u64)) -> Result<u64, ControlError> {
    loop {
        // It says something every 250 ms, except while `drain.delay` runs.
        match channel.answer(Duration::from_hours(1))?.0 {
            Answer::Draining { sessions } => show(sessions),
            Answer::Done { sessions } => return Ok(sessions),
            other => return Err(ControlError::Garbled(format!("{other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_and_perhaps_a_name() {
        let endpoint = target("192.0.2.1:4433").unwrap();
        assert_eq!((endpoint.address.as_str(), endpoint.server_name.as_str()), ("192.0.2.1:4433", ""));
        let endpoint = target("[2001:db8::1]:4433/pop-2.example.com").unwrap();
        assert_eq!(endpoint.address, "[2001:db8::1]:4433");
        assert_eq!(endpoint.server_name, "pop-2.example.com");
        for bad in
            ["", "192.0.2.1", "192.0.2.1:0", "0.0.0.0:4433", "pop:4433", "192.0.2.1:4433/a b", "1.2.3.4:5/ä"]
        {
            assert!(target(bad).unwrap_err().contains("is no target"), "{bad}");
        }
        assert!(targets(&vec!["192.0.2.1:1".to_owned(); 17]).is_err());
    }
}
