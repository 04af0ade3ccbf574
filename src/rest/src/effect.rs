//! What the audit log has of a command: by its name. One that neither asks nor sends changes something, so that a command which comes
//! is recorded before anybody thinks of it.

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes configuration, accounts, people, groups or messages that are there: each call has a record.
    Changes,
    /// Sends messages: calls are counted, or have records where `audit.messages` says so.
    Sends,
    /// Changes nothing: not in the audit log.
    Reads,
}

const SENDS: [&str; 6] = [
    "batchsendmsg",
    "im_push",
    "send_broadcast_msg",
    "send_group_msg",
    "send_group_system_notification",
    "sendmsg",
];

/// The contract's words for asking. No command that changes something has one in its name.
const ASKING: [&str; 4] = ["check", "get", "query", "search"];

impl Effect {
    /// Of the command of this name.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if SENDS.contains(&&*name) {
            return Self::Sends;
        }
        match ASKING.iter().any(|word| name.contains(word)) {
            true => Self::Reads,
            false => Self::Changes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::commands;

    #[test]
    fn what_changes_something_is_never_taken_for_a_question() {
        let doing = [
            "add", "ban", "change", "clear", "create", "del", "destroy", "forbid", "import", "kick", "mark",
            "modify", "recall", "remove", "set", "update", "withdraw",
        ];
        let mut changes = 0;
        for command in commands() {
            let does = doing.iter().any(|word| command.name.split('_').any(|part| part.starts_with(word)));
            // They ask for what has such a word in its name.
            let asks = ["app_settings_get", "get_group_ban_member"].contains(&command.name);
            let effect = Effect::of(command.name);
            assert!(!does || asks || effect == Effect::Changes, "{command:?}");
            changes += usize::from(effect == Effect::Changes);
        }
        assert!(changes > 40, "{changes}");
        for (name, effect) in [
            ("sendmsg", Effect::Sends),
            ("querystate", Effect::Reads),
            ("GetIPList", Effect::Reads),
            ("black_list_add", Effect::Changes),
            ("delete_group_msg_by_sender", Effect::Changes),
            ("whatever_comes", Effect::Changes),
        ] {
            assert_eq!(Effect::of(name), effect, "{name}");
        }
    }
}
