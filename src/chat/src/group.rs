//! Groups: who is in them, and who may do what.
//!
//! The table in [`GroupType`] says what each type of group can do; [`GroupRecord`] is what is kept of a group. Operations are
//! pure: they take a group as it is, who asks, the request and the time, and give what is to change (rows, not groups), what
//! members see of it (tips and notices), and whose sessions begin or cease to hear the group; or a failure with a code of the public
//! contract. The desk carries that out: it writes the rows in one transaction, then changes the group in memory by the same
//! rows, answers, and posts the messages.
//!
//! A group in memory is shared and never copied: joining a community of 100,000 members is one row and one entry of a map.

mod cache;
mod create;
mod effects;
mod importing;
mod joining;
mod leaving;
mod listing;
mod members;
mod profile;
mod record;
mod rules;
mod state;
mod topics;
mod types;
mod values;

pub(crate) use cache::{Groups, SharedGroup};
pub(crate) use create::{Counts, check_counts, check_id, create};
pub(crate) use effects::Effects;
pub(crate) use importing::NewMember;
pub use listing::MemberPlace;
pub(crate) use members::{NAMED_PAGE_MAX, page_limit};
pub(crate) use profile::join_option_body;
pub use record::{
    Application, Change, Fields, GroupChange, GroupInfo, GroupRecord, Handled, JoinOption, Member, Penalty,
    Reception, Role, TopicInfo,
};
pub(crate) use rules::Rules;
pub use rules::{FieldOf, FieldRule, GroupConfig};
pub(crate) use state::{Ctx, Group, gone, gone_at};
pub(crate) use topics::{check_topic_counts, check_topic_id};
pub use types::{CustomType, GroupType, Joining, PRESETS, Rank, Types};
