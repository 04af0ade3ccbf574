//! `all_member_push`: pushes to all members of an App, and the tags and attributes by which some of them are chosen. Old clients have the
//! same commands under `openim`.

mod labels;
mod send;

use crate::service::{MESSAGES, PUSH, Service};
use crate::table::{Command, command};

/// Codes of the contract.
const BAD: u32 = 90001;
const BAD_ATTR: u32 = 90033;
const INTERNAL: u32 = 91000;

pub(crate) fn commands() -> Vec<Command> {
    let of = |service: Service| {
        [
            command(service, "im_push", 200, "Sends a message to all members, or to some", send::push),
            command(service, "im_set_attr_name", 100, "Names attributes of users", labels::set_names),
            command(service, "im_get_attr_name", 100, "Names of attributes", labels::names),
            command(service, "im_set_attr", 100, "Sets attributes of users", labels::set),
            command(service, "im_get_attr", 100, "Attributes of users", labels::get),
            command(service, "im_remove_attr", 100, "Takes attributes from users", labels::remove),
            command(service, "im_add_tag", 100, "Adds tags to users", labels::add_tags),
            command(service, "im_get_tag", 100, "Tags of users", labels::tags),
            command(service, "im_remove_tag", 100, "Takes tags from users", labels::remove_tags),
            command(service, "im_remove_all_tags", 100, "Takes all tags from users", labels::clear_tags),
        ]
    };
    [PUSH, MESSAGES].into_iter().flat_map(of).collect()
}
