//! Server N: `nearport serve`, with accounts.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use nearport_chat::usersig::sign_v2;

use crate::client::{Target, USERS};

/// Accounts of one call.
const CALL: u64 = 100;

/// Starts one with its data below `dir`; its log is there too.
pub(crate) fn start(dir: &Path) -> Result<Target> {
    std::fs::create_dir_all(dir)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearport"));
    command.current_dir(dir).arg("serve");
    // A million calls of one command in a second are what is asked for.
    for set in [
        "edge.listen=127.0.0.1:0",
        "ops.listen=127.0.0.1:0",
        "api.listen=127.0.0.1:0",
        "rest.command_rates=false",
    ] {
        command.args(["--set", set]);
    }
    let log = File::create(dir.join("serve.log"))?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    let mut greeting = BufReader::new(child.stdout.take().context("piped above")?);
    let mut line = String::new();
    while !line.contains("Server, CA, app and key") {
        line.clear();
        ensure!(
            greeting.read_line(&mut line)? > 0,
            "the node does not start: see {}",
            dir.join("serve.log").display()
        );
    }
    // It goes on printing into a pipe that somebody has to read.
    std::thread::spawn(move || std::io::copy(&mut greeting, &mut std::io::sink()));
    let read = |name: &str| -> Result<toml::Table> {
        Ok(std::fs::read_to_string(dir.join("data").join(name))?.parse()?)
    };
    let (run, client) = (read("run.toml")?, read("client.toml")?);
    let text = |table: &toml::Table, key: &str| Some(table.get(key)?.as_str()?.to_owned());
    let address: SocketAddr = text(&run, "api").context("no API")?.parse()?;
    let app = client.get("app").and_then(toml::Value::as_integer).context("no App")?;
    let key = text(&client, "key").context("no key")?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let usersig = sign_v2(&key, u32::try_from(app)?, "administrator", now_s, 86_400, None);
    let query =
        format!("sdkappid={app}&identifier=administrator&usersig={usersig}&random=1&contenttype=json");
    let target =
        Target { child, address, path: format!("/v4/openim/sendmsg?{query}"), next: AtomicU64::new(0) };
    for from in (0..USERS).step_by(usize::try_from(CALL)?) {
        let names: Vec<_> = (from..(from + CALL).min(USERS)).map(|n| format!("\"u{n}\"")).collect();
        let body = format!(r#"{{"Accounts":[{}]}}"#, names.join(","));
        let path = format!("/v4/im_open_login_svc/multiaccount_import?{query}");
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains(r#""ErrorCode":0"#), "accounts are not taken: {answer}");
    }
    Ok(target)
}
