//! Callbacks against the real program: what a back end hears of, whatever is down and whenever the server is killed, and what it decides.

mod after;
pub(crate) mod back_end;
mod before;
mod commands;
mod kills;
mod rest;
mod settings;
mod target;

use std::net::SocketAddr;
use std::path::Path;

/// Settings that send callbacks to `addr`; `more` are lines of the section.
fn configure(dir: &Path, addr: SocketAddr, events: &[&str], more: &str) {
    let settings = format!(
        "[callback]\nurl = 'http://{addr}/imcallback'\nallow_private = true\nevents = {events:?}\n{more}\n"
    );
    std::fs::write(dir.join("nearport.toml"), settings).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
