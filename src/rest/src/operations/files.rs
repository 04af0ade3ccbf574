//! `im_cos_msg`: files of messages, by their URLs.

use nearport_chat::media::{NoFile, Seen};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Empty, Refusal};
use crate::field::{Field, Object, Text};
use crate::service::FILES;
use crate::table::{Call, Command, command};

const BAD: u32 = 60003;
const INTERNAL: u32 = 60008;

/// URLs that one call may ask about.
const URLS_MAX: usize = 100;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(FILES, "forbid_illegal_object", 200, "Serves a file to nobody any more", forbid),
        command(FILES, "allow_banned_object", 200, "Serves a banned file again", allow),
        command(FILES, "get_cos_sig", 200, "URLs of files that are good for 15 minutes", sign),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
struct OneFile {
    /// As an element of a message has it.
    #[serde(default, rename = "RawURL")]
    url: Text,
}

async fn forbid(call: Call, body: OneFile) -> Result<Empty, Refusal> {
    ban(call, body, true).await
}

async fn allow(call: Call, body: OneFile) -> Result<Empty, Refusal> {
    ban(call, body, false).await
}

async fn ban(call: Call, body: OneFile, banned: bool) -> Result<Empty, Refusal> {
    let url = body.url.required("RawURL", BAD)?;
    call.admin.ban_file(call.asker.app, url, banned).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
struct FilesSign {
    #[serde(default, rename = "RawURLs")]
    urls: RawUrls,
}

type RawUrls = Field<Vec<Object<RawUrl>>>;
type ResourceId = Field<i64>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
struct RawUrl {
    /// Stands beside what is said of this URL.
    #[serde(default, rename = "ResourceID")]
    id: ResourceId,
    #[serde(default, rename = "RawURL")]
    url: Text,
}

#[derive(Debug, Serialize, ToSchema)]
struct SignedFiles {
    #[serde(rename = "PreSigURLs")]
    files: Vec<SignedFile>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SignedFile {
    /// 0: its status is known.
    #[serde(rename = "Code")]
    code: u32,
    /// For people.
    #[serde(rename = "Desc")]
    info: String,
    #[serde(rename = "ResourceID")]
    id: i64,
    /// Good for 15 minutes; empty unless `Status` is 0.
    #[serde(rename = "PreSigURL")]
    url: String,
    /// 0: it is there, 1: it is banned, 2: there is none.
    #[serde(rename = "Status")]
    status: u32,
}

async fn sign(call: Call, body: FilesSign) -> Result<SignedFiles, Refusal> {
    let asked = body.urls.required("RawURLs", BAD)?;
    if asked.len() > URLS_MAX {
        return Err(Refusal::new(BAD, format!("RawURLs has at most {URLS_MAX} items")));
    }
    let (mut ids, mut urls) = (Vec::with_capacity(asked.len()), Vec::with_capacity(asked.len()));
    for Object(item) in asked {
        ids.push(item.id.required("ResourceID", BAD)?);
        urls.push(item.url.required("RawURL", BAD)?);
    }
    let found = call.admin.files(call.asker.app, urls).await?;
    let files = ids.into_iter().zip(found).map(|(id, found)| told(id, found)).collect();
    Ok(SignedFiles { files })
}

fn told(id: i64, found: Result<Seen, NoFile>) -> SignedFile {
    let none = String::new;
    let (code, info, url, status) = match found {
        Ok(Seen::Served(url)) => (0, none(), url, 0),
        Ok(Seen::Banned) => (0, "the file is banned".to_owned(), none(), 1),
        Err(why @ NoFile::Absent(_)) => (0, why.to_string(), none(), 2),
        Err(why @ NoFile::Unavailable(_)) => (INTERNAL, why.to_string(), none(), 2),
        Err(why) => (BAD, why.to_string(), none(), 2),
    };
    SignedFile { code, info, id, url, status }
}
