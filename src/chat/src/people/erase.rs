//! The end of a user.

use super::{Area, Effects, People};
use crate::Failure;
use crate::key::UserKey;

/// Users whose relations with the one that ends are taken away in one transaction: it keeps nobody waiting for long.
const AT_ONCE: u32 = 500;

impl People {
    /// Takes away some of the relations of `user`, in both directions; or, once there are none, what is hers alone: profile, settings of
    /// conversations, phones. Others hear of it as of any change of their relations. Whether something is left for the next call.
    ///
    /// # Errors
    /// 30006, 30008.
    pub(crate) fn erase(&self, user: &UserKey, effects: &mut Effects) -> Result<bool, Failure> {
        let others = self.read(Area::Relations, |tx| Ok(tx.related(user, AT_ONCE)?))?;
        let others: Vec<Result<UserKey, Failure>> =
            others.iter().filter_map(|name| UserKey::new(user.app(), name).ok().map(Ok)).collect();
        self.change(user, &others, effects, |ledgered| {
            for other in others.iter().flatten() {
                for (owner, of) in [(user, other), (other, user)] {
                    ledgered.part(owner, of)?;
                    if ledgered.tx.delete_block(owner, of.name())? {
                        ledgered.heads.blocks(owner, -1);
                    }
                    ledgered.drop_application(owner, of)?;
                    ledgered.tx.delete_follow(owner, of.name())?;
                }
            }
            if others.is_empty() {
                ledgered.tx.erase(user)?;
                // Whoever comes back under this name finds other friend groups than were there.
                ledgered.heads.groups(user);
            }
            Ok(())
        })?;
        Ok(!others.is_empty())
    }
}
