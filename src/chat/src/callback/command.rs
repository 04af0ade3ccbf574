//! The events that the back end of an App may hear of, by their names in the public contract.

use std::fmt;

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// An event. [`Command::name`] is its `CallbackCommand`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names of the public contract say it")]
        pub enum Command { $($(#[$doc])* $name),* }

        impl Command {
            /// All, in the order of the contract's list.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name of the contract.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

commands! {
    StateChange = "State.StateChange",
    PortraitSet = "Profile.CallbackPortraitSet",
    PrevFriendAdd = "Sns.CallbackPrevFriendAdd",
    PrevFriendResponse = "Sns.CallbackPrevFriendResponse",
    FriendAdd = "Sns.CallbackFriendAdd",
    FriendDelete = "Sns.CallbackFriendDelete",
    BlackListAdd = "Sns.CallbackBlackListAdd",
    BlackListDelete = "Sns.CallbackBlackListDelete",
    PairBeforeSend = "C2C.CallbackBeforeSendMsg",
    PairAfterSend = "C2C.CallbackAfterSendMsg",
    PairAfterReport = "C2C.CallbackAfterMsgReport",
    PairAfterWithdraw = "C2C.CallbackAfterMsgWithDraw",
    PairAfterExtension = "C2C.CallbackAfterC2CMsgExtension",
    BeforeCreateGroup = "Group.CallbackBeforeCreateGroup",
    AfterCreateGroup = "Group.CallbackAfterCreateGroup",
    BeforeApplyJoin = "Group.CallbackBeforeApplyJoinGroup",
    BeforeInviteJoin = "Group.CallbackBeforeInviteJoinGroup",
    AfterNewMember = "Group.CallbackAfterNewMemberJoin",
    AfterMemberExit = "Group.CallbackAfterMemberExit",
    GroupBeforeSend = "Group.CallbackBeforeSendMsg",
    GroupAfterSend = "Group.CallbackAfterSendMsg",
    GroupSendException = "Group.CallbackSendMsgException",
    AfterGroupFull = "Group.CallbackAfterGroupFull",
    AfterGroupDestroyed = "Group.CallbackAfterGroupDestroyed",
    AfterGroupInfoChanged = "Group.CallbackAfterGroupInfoChanged",
    GroupAfterRecall = "Group.CallbackAfterRecallMsg",
    MemberStateChange = "Group.CallbackOnMemberStateChange",
    AfterGroupAttrChanged = "Group.CallbackAfterGroupAttrChanged",
    BeforeCreateTopic = "Group.CallbackBeforeCreateTopic",
    AfterCreateTopic = "Group.CallbackAfterCreateTopic",
    AfterTopicDestroyed = "Group.CallbackAfterTopicDestroyed",
    AfterTopicInfoChanged = "Group.CallbackAfterTopicInfoChanged",
    RequestOverLimit = "Alert.RequestOverLimit",
}

impl Command {
    /// The command of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|command| command.name() == name)
    }

    /// Whether it is asked before something happens, so that the answer decides.
    #[must_use]
    pub fn is_before(self) -> bool {
        matches!(
            self,
            Self::PrevFriendAdd
                | Self::PrevFriendResponse
                | Self::PairBeforeSend
                | Self::BeforeCreateGroup
                | Self::BeforeApplyJoin
                | Self::BeforeInviteJoin
                | Self::GroupBeforeSend
                | Self::BeforeCreateTopic
        )
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commands(u64);

impl Commands {
    /// Whether `command` is among them.
    #[must_use]
    pub fn has(self, command: Command) -> bool {
        self.0 & (1 << command as u32) != 0
    }

    /// All of them, in the order of [`Command::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Command> {
        Command::ALL.iter().copied().filter(move |command| self.has(*command))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Command> for Commands {
    fn from_iter<T: IntoIterator<Item = Command>>(commands: T) -> Self {
        Self(commands.into_iter().fold(0, |all, command| all | 1 << command as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_a_set_has_what_was_put_in() {
        for command in Command::ALL {
            assert_eq!(Command::find(command.name()), Some(*command));
            assert_eq!(
                command.is_before(),
                command.name().contains("Before") || command.name().contains("Prev")
            );
            let set: Commands = [*command].into_iter().collect();
            for other in Command::ALL {
                assert_eq!(set.has(*other), command == other);
            }
        }
        assert_eq!(Command::find("C2C.callbackafterSendMsg"), None);
        assert!(Commands::default().is_empty());
    }
}
