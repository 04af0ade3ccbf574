//! `open_msg_svc`: files of what was said in an hour.

use nearport_chat::admin::HistoryFile;
use nearport_chat::key::Talk;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dates::{hour_of, time_text};
use crate::answer::Refusal;
use crate::field::Text;
use crate::service::HISTORY_FILES;
use crate::table::{Call, Command, command};

const BAD: u32 = 1002;
const INTERNAL: u32 = 1003;

pub(crate) fn commands() -> Vec<Command> {
    vec![command(HISTORY_FILES, "get_history", 10, "The file of what was said in an hour", get)]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct HistoryGet {
    /// `C2C` or `Group`.
    #[serde(default)]
    chat_type: Text,
    /// `yyyymmddhh`, of UTC.
    #[serde(default)]
    msg_time: Text,
}

#[derive(Debug, Serialize, ToSchema)]
struct HistoryFiles {
    #[serde(rename = "File")]
    files: Vec<HistoryFileItem>,
}

#[derive(Debug, Serialize, ToSchema)]
struct HistoryFileItem {
    #[serde(rename = "URL")]
    url: String,
    /// Until when the URL is good: `yyyy-mm-dd hh:mm:ss`, of UTC. Another call gives another one as long as the file is kept.
    #[serde(rename = "ExpireTime")]
    expires: String,
    /// Octets of the text.
    #[serde(rename = "FileSize")]
    bytes: u64,
    /// Of the text.
    #[serde(rename = "FileMD5")]
    md5: String,
    /// Octets of what is downloaded.
    #[serde(rename = "GzipSize")]
    gzip_bytes: u64,
    /// Of what is downloaded.
    #[serde(rename = "GzipMD5")]
    gzip_md5: String,
}

async fn get(call: Call, body: HistoryGet) -> Result<HistoryFiles, Refusal> {
    let talk = match &*body.chat_type.required("ChatType", BAD)? {
        "C2C" => Talk::Pairs,
        "Group" => Talk::Groups,
        _ => return Err(Refusal::new(BAD, "ChatType is C2C or Group")),
    };
    let hour = hour_of(&body.msg_time.required("MsgTime", BAD)?);
    let hour = hour.ok_or_else(|| Refusal::new(BAD, "MsgTime is an hour of UTC, as 2015120121"))?;
    let app = call.asker.app;
    let HistoryFile { row, url, ends_s } =
        call.blocking(INTERNAL, move |admin| admin.history_file(app, talk, hour)).await?;
    let file = HistoryFileItem {
        url,
        expires: time_text(ends_s),
        bytes: row.bytes,
        md5: row.md5,
        gzip_bytes: row.gzip_bytes,
        gzip_md5: row.gzip_md5,
    };
    Ok(HistoryFiles { files: vec![file] })
}
