//! `openconfigsvr`.

use super::table::Row;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/account_import",
        r#"{"Identifier":"mute-ann"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#,
    ),
    row(
        "openconfigsvr/setnospeaking",
        r#"{"Set_Account":"mute-ann","C2CmsgNospeakingTime":4294967295}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#,
    ),
    row(
        "openconfigsvr/getnospeaking",
        r#"{"Get_Account":"mute-ann"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","C2CmsgNospeakingTime":4294967295,"GroupmsgNospeakingTime":0}"#,
    ),
    row(
        "openconfigsvr/setnospeaking",
        r#"{"Set_Account":"mute-ann","C2CmsgNospeakingTime":0,"GroupmsgNospeakingTime":3600}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#,
    ),
    row(
        "openconfigsvr/getnospeaking",
        r#"{"Get_Account":"mute-ann"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","C2CmsgNospeakingTime":0,"GroupmsgNospeakingTime":"@int"}"#,
    ),
    row("openconfigsvr/setnospeaking", r#"{"Set_Account":"mute-ann"}"#, r#"{"ErrorCode":130008}"#),
    row(
        "openconfigsvr/setnospeaking",
        r#"{"Set_Account":"mute-ann","C2CmsgNospeakingTime":"x"}"#,
        r#"{"ErrorCode":130008}"#,
    ),
    row("openconfigsvr/setnospeaking", r#"{"C2CmsgNospeakingTime":0}"#, r#"{"ErrorCode":130004}"#),
    row(
        "openconfigsvr/setnospeaking",
        r#"{"Set_Account":7,"C2CmsgNospeakingTime":0}"#,
        r#"{"ErrorCode":130005}"#,
    ),
    row(
        "openconfigsvr/setnospeaking",
        r#"{"Set_Account":"mute-nobody","C2CmsgNospeakingTime":0}"#,
        r#"{"ErrorCode":130005}"#,
    ),
    row("openconfigsvr/getnospeaking", "{}", r#"{"ErrorCode":130002}"#),
    row("openconfigsvr/getnospeaking", r#"{"Get_Account":"mute-nobody"}"#, r#"{"ErrorCode":130003}"#),
    row("openconfigsvr/getnospeaking", "{", r#"{"ErrorCode":130001}"#),
];
