//! Lines of an import: what back ends of other systems wrote down, one JSON object each, with the fields that the commands of
//! the contract have for it. docs/import.md is the format for people.

use std::borrow::Cow;
use std::fmt;

use nearport_chat::admin::{Historic, HistoricTo, ImportMember, NewAccount};
use nearport_chat::key::AppId;
use nearport_chat::people::ImportFriend;
use nearport_wire::body::{GroupCreate, Priority};
use nearport_wire::code::group as code;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::accounts;
use crate::answer::Refusal;
use crate::field::{Field, Text};
use crate::groups::import::{ImportedItem, ImportedMember, Told};
use crate::groups::profile::CreateGroup;
use crate::messages::send::{ImportOne, Old};
use crate::sns::friends::ImportItem;

/// The version of the format that this program reads.
pub const VERSION: u64 = 1;

/// What no JSON, and what is of no known kind.
const UNREADABLE: u32 = 60003;
const RELATION_BAD: u32 = 30001;

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `account`: as for `account_import`.
    Account,
    /// `friend`: `From_Account` and an item of `friend_import`.
    Friend,
    /// `block`: `From_Account` and `To_Account`, one name each, of `black_list_add`.
    Block,
    /// `group`: as for `import_group`.
    Group,
    /// `group_message`: `GroupId` and an item of `import_group_msg`.
    GroupMessage,
    /// `message`: as for `importmsg`.
    Message,
    /// `member`: `GroupId` and an item of `import_group_member`.
    Member,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Account,
        Self::Friend,
        Self::Block,
        Self::Group,
        Self::GroupMessage,
        Self::Message,
        Self::Member,
    ];

    /// As a line says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Friend => "friend",
            Self::Block => "block",
            Self::Group => "group",
            Self::GroupMessage => "group_message",
            Self::Message => "message",
            Self::Member => "member",
        }
    }
}

/// A line that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// An account.
    Account(NewAccount),
    /// Somebody is in somebody's friend list.
    Friend {
        /// Whose list.
        of: String,
        /// The friend.
        friend: Box<ImportFriend>,
    },
    /// Somebody is on somebody's blocklist.
    Block {
        /// Whose list.
        of: String,
        /// Who is blocked.
        user: String,
    },
    /// A group.
    Group {
        /// What it is.
        group: Box<GroupCreate>,
        /// Since when, Unix seconds.
        created_s: Option<u64>,
    },
    /// A message.
    Message(Box<Historic>),
    /// A member of a group.
    Member {
        /// Which group.
        group: String,
        /// Who.
        member: ImportMember,
    },
}

/// What a line is, before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Nothing: spaces.
    Blank,
    /// `{"kind":"format","version":1}`: says what the others are.
    Format,
    /// A line of this kind.
    Is(Kind),
}

/// Why a line is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// A code of the contract.
    pub code: u32,
    /// For people.
    pub reason: String,
    /// Of another version of the format: what follows must not be guessed at.
    pub fatal: bool,
}

impl Bad {
    /// A line of more than `bytes_max` bytes.
    #[must_use]
    pub fn too_long(bytes_max: u64) -> Self {
        Self::new(format!("the line has more than {bytes_max} bytes"))
    }

    fn new(reason: impl Into<String>) -> Self {
        Self { code: UNREADABLE, reason: reason.into(), fatal: false }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Refusal> for Bad {
    fn from(Refusal { code, info, .. }: Refusal) -> Self {
        Self { code, reason: info, fatal: false }
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    version: Option<Value>,
}

/// Looks what a line is. All of it is looked at for being JSON, and little of it is read.
///
/// # Errors
/// [`Bad`] for what is no JSON object, and for one without a known kind.
pub fn sort(line: &[u8]) -> Result<Sort, Bad> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(Sort::Blank);
    }
    let head: Head<'_> =
        serde_json::from_slice(line).map_err(|error| Bad::new(format!("no object of JSON: {error}")))?;
    let kind = head.kind.ok_or_else(|| Bad::new("the object has no kind"))?;
    if kind == "format" {
        return match head.version.as_ref().and_then(Value::as_u64) {
            Some(VERSION) => Ok(Sort::Format),
            _ => {
                let reason = format!(
                    "the format is of another version than {VERSION}, which is what this program reads"
                );
                Err(Bad { fatal: true, ..Bad::new(reason) })
            }
        };
    }
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    known.map(Sort::Is).ok_or_else(|| Bad::new(format!("there is no kind {kind:?}")))
}

/// Reads a line of this kind.
///
/// # Errors
/// [`Bad`], with the code that the command of the contract has for it.
pub fn read(app: AppId, kind: Kind, line: &[u8]) -> Result<Line, Bad> {
    let mut fields: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| Bad::new(format!("no object of JSON: {error}")))?;
    match kind {
        Kind::Account => Ok(Line::Account(body::<accounts::Import>(fields)?.read()?)),
        Kind::Friend => {
            let of = text(&mut fields, "From_Account", RELATION_BAD)?;
            Ok(Line::Friend { of, friend: Box::new(body::<ImportItem>(fields)?.read()?) })
        }
        Kind::Block => {
            let of = text(&mut fields, "From_Account", RELATION_BAD)?;
            Ok(Line::Block { of, user: text(&mut fields, "To_Account", RELATION_BAD)? })
        }
        Kind::Group => {
            let (group, created_s) = body::<CreateGroup>(fields)?.read_import()?;
            if group.group.is_empty() {
                // A second run would make a second group.
                return Err(Refusal::new(code::BAD_PARAMETER, "GroupId is missing").into());
            }
            Ok(Line::Group { group: Box::new(group), created_s })
        }
        Kind::GroupMessage => {
            let to = HistoricTo::Group(text(&mut fields, "GroupId", code::BAD_PARAMETER)?);
            let (Told { from, time_s, random }, content) = body::<ImportedItem>(fields)?.read()?;
            let (content, priority) = (content?, Priority::Normal);
            Ok(Line::Message(Box::new(Historic { to, from, time_s, seq: 0, random, content, priority })))
        }
        Kind::Message => {
            let Old { from, to, key, content } = body::<ImportOne>(fields)?.read(app)?;
            let content = content.map_err(|bad| bad.in_messages())?;
            Ok(Line::Message(Box::new(Historic {
                to: HistoricTo::User(to.name().to_owned()),
                from: from.name().to_owned(),
                time_s: key.time_s,
                seq: u32::try_from(key.seq).unwrap_or_default(),
                random: Some(key.random),
                content,
                priority: Priority::default(),
            })))
        }
        Kind::Member => {
            let group = text(&mut fields, "GroupId", code::BAD_PARAMETER)?;
            Ok(Line::Member { group, member: body::<ImportedMember>(fields)?.read()? })
        }
    }
}

fn body<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Bad> {
    serde_json::from_value(Value::Object(fields)).map_err(|error| Bad::new(error.to_string()))
}

fn text(fields: &mut Map<String, Value>, name: &str, code: u32) -> Result<String, Bad> {
    let field: Text = match fields.remove(name) {
        None | Some(Value::Null) => Field::Absent,
        Some(Value::String(text)) => Field::Good(text),
        Some(_) => Field::Bad,
    };
    Ok(field.required(name, code)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: AppId = AppId(7);

    fn line(text: &str) -> Result<Line, Bad> {
        match sort(text.as_bytes())? {
            Sort::Is(kind) => read(APP, kind, text.as_bytes()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_is_read_as_its_command_reads_it() {
        let text = r#""MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi"}}]"#;
        let good = [
            r#"{"kind":"account","UserID":"ann","Nick":"Ann","later":1}"#.to_owned(),
            r#"{"kind":"friend","From_Account":"ann","To_Account":"ben","AddSource":"AddSource_Type_X","GroupName":["g"]}"#.to_owned(),
            r#"{"kind":"block","From_Account":"ann","To_Account":"ben"}"#.to_owned(),
            r#"{"kind":"group","GroupId":"g","Type":"Public","Name":"n","CreateTime":1700000000}"#.to_owned(),
            format!(r#"{{"kind":"group_message","GroupId":"g","From_Account":"ann","SendTime":1700000001,"Random":9,{text}}}"#),
            format!(r#"{{"kind":"message","From_Account":"ann","To_Account":"ben","MsgSeq":5,"MsgRandom":9,"MsgTimeStamp":1700000002,{text}}}"#),
            r#"{"kind":"member","GroupId":"g","Member_Account":"ben","Role":"Admin","JoinTime":1700000000,"UnreadMsgNum":3}"#.to_owned(),
        ];
        let lines: Vec<_> =
            good.iter().map(|text| line(text).unwrap_or_else(|bad| panic!("{text}: {bad}"))).collect();
        assert!(matches!(&lines[0], Line::Account(account) if account.nick.as_deref() == Some("Ann")));
        assert!(matches!(&lines[1], Line::Friend { of, friend } if of == "ann" && friend.groups == ["g"]));
        assert!(matches!(&lines[2], Line::Block { of, user } if (&**of, &**user) == ("ann", "ben")));
        assert!(matches!(&lines[3], Line::Group { created_s: Some(1_700_000_000), .. }));
        let Line::Message(message) = &lines[4] else { panic!("{:?}", lines[4]) };
        assert_eq!((&message.to, message.random), (&HistoricTo::Group("g".into()), Some(9)));
        let Line::Message(message) = &lines[5] else { panic!("{:?}", lines[5]) };
        assert_eq!(
            (&message.to, message.seq, message.time_s),
            (&HistoricTo::User("ben".into()), 5, 1_700_000_002)
        );
        assert!(matches!(&lines[6], Line::Member { member, .. } if member.admin && member.unread == 3));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_code_of_the_command() {
        let code = |text: &str| line(text).unwrap_err().code;
        assert_eq!(code("[]"), 60003);
        assert_eq!(code("{"), 60003);
        assert_eq!(code("{}"), 60003);
        assert_eq!(code(r#"{"kind":"topic"}"#), 60003);
        assert_eq!(code(r#"{"kind":"account"}"#), 70402);
        assert_eq!(code(r#"{"kind":"friend","From_Account":7}"#), 30001);
        assert_eq!(code(r#"{"kind":"group","Type":"Public","Name":"n"}"#), 10004);
        assert_eq!(code(r#"{"kind":"group_message","GroupId":"g","From_Account":"a","SendTime":1}"#), 10004);
        assert_eq!(code(r#"{"kind":"message","From_Account":"a","To_Account":"b","MsgTimeStamp":1}"#), 90005);
        assert_eq!(sort(b" \t\r"), Ok(Sort::Blank));
        assert_eq!(sort(br#"{"kind":"format","version":1}"#), Ok(Sort::Format));
        assert!(sort(br#"{"kind":"format","version":2}"#).unwrap_err().fatal);
        assert!(!sort(b"\xff").unwrap_err().fatal);
    }
}
