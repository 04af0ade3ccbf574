//! `openconfigsvr/getappinfo`: what has happened in the last 30 days.

use std::collections::BTreeSet;

use nearport_chat::admin::{AppDay, AppNumbers};
use nearport_chat::numbers::{Count, Crowd};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dates::date;
use crate::answer::Refusal;
use crate::field::Texts;
use crate::service::MUTES;
use crate::table::{Call, Command, command};

const BAD: u32 = 130001;
/// The store does not answer.
const INTERNAL: u32 = 130011;

pub(crate) fn commands() -> Vec<Command> {
    vec![command(MUTES, "getappinfo", 200, "Numbers of the last 30 days", get)]
}

#[derive(Debug, Deserialize, ToSchema)]
struct NumbersGet {
    /// Names of fields; all if it is missing or empty.
    #[serde(default, rename = "RequestField")]
    fields: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
struct Numbers {
    /// The oldest day first.
    #[serde(rename = "Result")]
    days: Vec<Day>,
}

/// What is said of a day, all of it as text.
macro_rules! day {
    ($(#[doc = $doc:tt] $field:ident $name:tt $value:expr,)*) => {
        #[derive(Debug, Serialize, ToSchema)]
        struct Day {
            /// `yyyymmdd`, of UTC.
            #[serde(rename = "Date")]
            date: String,
            $(
                #[doc = $doc]
                #[serde(rename = $name, skip_serializing_if = "Option::is_none")]
                $field: Option<String>,
            )*
        }

        /// The fields that are asked for.
        fn told(app: &App<'_>, day: &AppDay, wanted: &dyn Fn(&str) -> bool) -> Day {
            Day {
                date: date(day.day),
                $($field: wanted($name).then(|| {
                    let value: fn(&App<'_>, &AppDay) -> String = $value;
                    value(app, day)
                }),)*
            }
        }
    };
}

/// Of whom the numbers are.
struct App<'a> {
    id: u32,
    name: &'a str,
}

fn count(day: &AppDay, what: &[Count]) -> String {
    what.iter().map(|what| day.count(*what)).sum::<u64>().to_string()
}

day! {
    #[doc = "Name of the App."]
    app_name "AppName" |app, _| app.name.to_owned(),
    #[doc = "Its number."]
    app_id "AppId" |app, _| app.id.to_string(),
    #[doc = "Empty: this server knows no companies."]
    company "Company" |_, _| String::new(),
    #[doc = "Users who were online or sent something."]
    active_users "ActiveUserNum" |_, day| day.crowd(Crowd::Active).to_string(),
    #[doc = "Accounts made on that day."]
    registered "RegistUserNumOneDay" |_, day| day.registered.to_string(),
    #[doc = "Accounts made until its end."]
    registered_total "RegistUserNumTotal" |_, day| day.registered_total.to_string(),
    #[doc = "Sessions."]
    logins "LoginTimes" |_, day| count(day, &[Count::Logins]),
    #[doc = "Users who logged in."]
    logged_in "LoginUserNum" |_, day| day.crowd(Crowd::LoggedIn).to_string(),
    #[doc = "The most users online at once."]
    online_most "MaxOnlineNum" |_, day| day.online_most().to_string(),
    #[doc = "Messages that were sent."]
    up "UpMsgNum" |_, day| count(day, &[Count::PairUp, Count::GroupUp]),
    #[doc = "The same, by how many each was for."]
    down "DownMsgNum" |_, day| count(day, &[Count::PairDown, Count::GroupDown]),
    #[doc = "Users who sent."]
    senders "SendMsgUserNum" |_, day| day.senders().to_string(),
    #[doc = "0: nothing is pushed to phones."]
    pushed "APNSMsgNum" |_, _| 0.to_string(),
    #[doc = "Messages to users."]
    c2c_up "C2CUpMsgNum" |_, day| count(day, &[Count::PairUp]),
    #[doc = "The same, by how many each was for."]
    c2c_down "C2CDownMsgNum" |_, day| count(day, &[Count::PairDown]),
    #[doc = "Users who sent to users."]
    c2c_senders "C2CSendMsgUserNum" |_, day| day.crowd(Crowd::PairSenders).to_string(),
    #[doc = "0: nothing is pushed to phones."]
    c2c_pushed "C2CAPNSMsgNum" |_, _| 0.to_string(),
    #[doc = "Friendships that came to be, seen from each side."]
    chain_up "ChainIncrease" |_, day| count(day, &[Count::ChainUp]),
    #[doc = "Friendships that ended, seen from each side."]
    chain_down "ChainDecrease" |_, day| count(day, &[Count::ChainDown]),
    #[doc = "Messages to groups."]
    group_up "GroupUpMsgNum" |_, day| count(day, &[Count::GroupUp]),
    #[doc = "The same, by how many members each was for."]
    group_down "GroupDownMsgNum" |_, day| count(day, &[Count::GroupDown]),
    #[doc = "Users who sent to groups."]
    group_senders "GroupSendMsgUserNum" |_, day| day.crowd(Crowd::GroupSenders).to_string(),
    #[doc = "0: nothing is pushed to phones."]
    group_pushed "GroupAPNSMsgNum" |_, _| 0.to_string(),
    #[doc = "Groups that had messages."]
    groups_spoken "GroupSendMsgGroupNum" |_, day| day.crowd(Crowd::Groups).to_string(),
    #[doc = "Members that came to groups."]
    group_joins "GroupJoinGroupTimes" |_, day| count(day, &[Count::GroupJoins]),
    #[doc = "Members that left groups or were removed."]
    group_quits "GroupQuitGroupTimes" |_, day| count(day, &[Count::GroupQuits]),
    #[doc = "New groups."]
    groups_made "GroupNewGroupNum" |_, day| count(day, &[Count::GroupsMade]),
    #[doc = "Groups at the end of the day."]
    groups "GroupAllGroupNum" |_, day| day.groups.to_string(),
    #[doc = "Groups that were dismissed."]
    groups_ended "GroupDestroyGroupNum" |_, day| count(day, &[Count::GroupsEnded]),
    #[doc = "Requests to the back end of the App."]
    asked "CallBackReq" |_, day| count(day, &[Count::CallbacksAsked]),
    #[doc = "Those that it has answered."]
    answered "CallBackRsp" |_, day| count(day, &[Count::CallbacksAnswered]),
}

async fn get(call: Call, body: NumbersGet) -> Result<Numbers, Refusal> {
    let fields = body.fields.optional("RequestField", BAD)?.unwrap_or_default();
    let fields: BTreeSet<String> = fields.into_iter().collect();
    let wanted = |name: &str| fields.is_empty() || fields.contains(name);
    let id = call.asker.app;
    let AppNumbers { name, days } = call.blocking(INTERNAL, move |admin| admin.app_numbers(id)).await?;
    let app = App { id: id.0, name: &name };
    Ok(Numbers { days: days.iter().map(|day| told(&app, day, &wanted)).collect() })
}
