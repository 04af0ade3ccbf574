//! Stores what the lines of an import hold, by the calls of back ends: one outcome for each line.

use std::ops::Range;

use nearport_chat::Failure;
use nearport_chat::admin::{Admin, Asker, Brought, ImportMember, Pending};
use nearport_chat::key::UserKey;
use nearport_chat::people::{ImportFriend, Item, Items};
use nearport_rest::lines::Line;
use nearport_wire::body::{GroupCreate, GroupInviteResult};
use nearport_wire::code::group as group_code;

/// Friends, or blocked users, of one call, and members of one: of the contract.
const RELATIONS_MAX: usize = 1000;
const MEMBERS_MAX: usize = 300;

/// Calls about members that are under way at once. Each waits for both stores; together they share transactions.
const MEMBER_CALLS: usize = 16;

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    Stored,
    Repeated,
    Rejected { code: u32, reason: String },
}

impl Done {
    fn of(outcome: Result<bool, Failure>) -> Self {
        match outcome {
            Ok(false) => Self::Stored,
            Ok(true) => Self::Repeated,
            Err(Failure { code, info, .. }) => Self::Rejected { code, reason: info.into_owned() },
        }
    }

    pub(crate) fn brought(outcome: Result<Brought, Failure>) -> Self {
        Self::of(outcome.map(|brought| brought.repeated))
    }
}

/// The calls of an import.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) admin: Admin,
    pub(crate) asker: Asker,
}

/// What ends an import: the store does not answer, or takes nothing.
pub(crate) fn fatal(failure: &Failure) -> anyhow::Error {
    anyhow::anyhow!("{} ({})", failure.info, failure.code)
}

/// A refusal that says something about the lines; what would be gone later ends the import.
fn settled<T>(outcome: Option<Result<T, Failure>>) -> anyhow::Result<Result<T, Failure>> {
    match outcome {
        None => anyhow::bail!("the backend has ended"),
        Some(Err(failure)) if failure.retry_after_ms > 0 => Err(fatal(&failure)),
        Some(outcome) => Ok(outcome),
    }
}

impl Store {
    /// Stores lines that are no messages. In order.
    pub(crate) fn store(&self, lines: Vec<Line>) -> anyhow::Result<Vec<Done>> {
        match lines.first() {
            None | Some(Line::Message(_)) => Ok(Vec::new()),
            Some(Line::Account(_)) => self.accounts(lines),
            Some(Line::Friend { .. } | Line::Block { .. }) => self.relations(&lines),
            Some(Line::Group { .. }) => self.groups(lines),
            Some(Line::Member { .. }) => self.members(&lines),
        }
    }

    fn accounts(&self, lines: Vec<Line>) -> anyhow::Result<Vec<Done>> {
        let accounts: Vec<_> = lines
            .into_iter()
            .filter_map(|line| if let Line::Account(account) = line { Some(account) } else { None })
            .collect();
        let names: Vec<_> = accounts.iter().map(|account| account.user.clone()).collect();
        let known = self.admin.accounts_exist(self.asker.app, &names).map_err(|failure| fatal(&failure))?;
        let outcomes = settled(self.admin.import_accounts(&self.asker, accounts).wait())?;
        let outcomes = outcomes.map_err(|failure| fatal(&failure))?;
        Ok(outcomes
            .into_iter()
            .zip(known)
            .map(|(outcome, known)| Done::of(outcome.map(|()| known)))
            .collect())
    }

    fn relations(&self, lines: &[Line]) -> anyhow::Result<Vec<Done>> {
        let of = |line: &Line| match line {
            Line::Friend { of, .. } => Some((of.clone(), false)),
            Line::Block { of, .. } => Some((of.clone(), true)),
            _ => None,
        };
        let calls: Vec<_> = runs(lines, of, RELATIONS_MAX)
            .into_iter()
            .map(|run| {
                let (of, blocks) = of(&lines[run.start]).unwrap_or_default();
                let pending = match blocks {
                    true => self.block(&of, &lines[run.clone()]),
                    false => self.befriend(&of, &lines[run.clone()]),
                };
                (run, of, pending)
            })
            .collect();
        let mut done = Vec::with_capacity(lines.len());
        for (run, of, pending) in calls {
            match settled(pending.wait())? {
                Err(failure) => done.extend(run.map(|_| Done::of(Err(failure.clone())))),
                Ok(Items { items, .. }) => {
                    let outcomes =
                        lines[run].iter().zip(items).map(|(line, Item { code, info, .. })| match line {
                            _ if code == 0 => Done::Stored,
                            // The one refusal of this code that is not about oneself: who is blocked already.
                            Line::Block { user, .. } if code == RELATION_BAD && *user != of => Done::Repeated,
                            _ => Done::Rejected { code, reason: info },
                        });
                    done.extend(outcomes);
                }
            }
        }
        Ok(done)
    }

    fn befriend(&self, of: &str, lines: &[Line]) -> Pending<Result<Items, Failure>> {
        let friend = |line: &Line| {
            if let Line::Friend { friend, .. } = line { Some((**friend).clone()) } else { None }
        };
        let mut friends: Vec<ImportFriend> = lines.iter().filter_map(friend).collect();
        self.admin.change_people(&self.asker, of, RELATION_NO_ACCOUNT, move |people, about, effects| {
            for friend in &mut friends {
                friend.custom = people.declared(about.user.app(), std::mem::take(&mut friend.custom));
            }
            people.import_friends(&about.actor, about.user, &friends, about.now_ms, effects)
        })
    }

    fn block(&self, of: &str, lines: &[Line]) -> Pending<Result<Items, Failure>> {
        let user = |line: &Line| if let Line::Block { user, .. } = line { Some(user.clone()) } else { None };
        let users: Vec<_> = lines.iter().filter_map(user).collect();
        self.admin.change_people(&self.asker, of, RELATION_NO_ACCOUNT, move |people, about, effects| {
            people.add_blocks(&about.actor, about.user, &users, about.now_ms, effects)
        })
    }

    fn groups(&self, lines: Vec<Line>) -> anyhow::Result<Vec<Done>> {
        let groups = lines.into_iter().filter_map(|line| match line {
            Line::Group { group, created_s } => Some((*group, created_s)),
            _ => None,
        });
        let calls: Vec<_> = groups
            .map(|(group, created_s)| {
                let pending = self.admin.import_group(&self.asker, group.clone(), created_s);
                (group, created_s, pending)
            })
            .collect();
        let mut done = Vec::with_capacity(calls.len());
        for (group, created_s, pending) in calls {
            let outcome = match settled(pending.wait())? {
                Err(failure) if [group_code::ID_TAKEN, group_code::ID_OWN].contains(&failure.code) => {
                    let same = self.admin.is_imported(self.asker.app, &group, created_s);
                    match settled(Some(same))? {
                        Ok(true) => Ok(true),
                        _ => Err(failure),
                    }
                }
                outcome => outcome.map(|_| false),
            };
            done.push(Done::of(outcome));
        }
        Ok(done)
    }

    fn members(&self, lines: &[Line]) -> anyhow::Result<Vec<Done>> {
        let of = |line: &Line| if let Line::Member { group, .. } = line { Some(group.clone()) } else { None };
        let runs = runs(lines, of, MEMBERS_MAX);
        let each = runs.len().div_ceil(MEMBER_CALLS).max(1);
        let carry_out = |runs: &[Range<usize>]| {
            let mut done = Vec::new();
            for run in runs {
                done.extend(self.members_of(&lines[run.clone()])?);
            }
            Ok::<_, anyhow::Error>(done)
        };
        let done = std::thread::scope(|scope| {
            let calls: Vec<_> = runs.chunks(each).map(|some| scope.spawn(move || carry_out(some))).collect();
            let outcomes = calls.into_iter().map(|call| match call.join() {
                Ok(outcome) => outcome,
                Err(_) => anyhow::bail!("a thread of the import panicked"),
            });
            outcomes.collect::<anyhow::Result<Vec<_>>>()
        });
        Ok(done?.into_iter().flatten().collect())
    }

    /// Members of one group.
    fn members_of(&self, lines: &[Line]) -> anyhow::Result<Vec<Done>> {
        let member = |line: &Line| match line {
            Line::Member { group, member } => Some((group.clone(), member.clone())),
            _ => None,
        };
        let (groups, members): (Vec<String>, Vec<ImportMember>) = lines.iter().filter_map(member).unzip();
        let Some(group) = groups.first() else { return Ok(Vec::new()) };
        let (names, unread): (Vec<_>, Vec<_>) =
            members.iter().map(|member| (member.user.clone(), member.unread)).unzip();
        let known = self.admin.accounts_exist(self.asker.app, &names).map_err(|failure| fatal(&failure))?;
        match settled(Some(self.admin.import_members(&self.asker, group, members)))? {
            Ok(invited) => {
                for (item, unread) in invited.items.iter().zip(unread) {
                    if item.result() == GroupInviteResult::GroupInviteKnown {
                        let marked =
                            self.admin.set_unread_of_owner(self.asker.app, group, &item.user, unread);
                        marked.map_err(|failure| fatal(&failure))?;
                    }
                }
                let outcomes = invited.items.into_iter().zip(known).map(|(item, known)| {
                    let bad = |info: &'static str| Done::Rejected {
                        code: group_code::BAD_PARAMETER,
                        reason: info.to_owned(),
                    };
                    match item.result() {
                        GroupInviteResult::GroupInviteAdded => Done::Stored,
                        GroupInviteResult::GroupInviteKnown => Done::Repeated,
                        _ if !known => bad("Member_Account is not registered"),
                        _ => bad("JoinTime is before the group or after now, or there is no room"),
                    }
                });
                Ok(outcomes.collect())
            }
            // What is wrong with one of them need not be wrong with the others.
            Err(_) if lines.len() > 1 => {
                let each = lines.iter().map(|line| self.members_of(std::slice::from_ref(line)));
                Ok(each.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
            Err(failure) => Ok(vec![Done::of(Err(failure))]),
        }
    }

    /// Marks as read what owners of groups have not read because their groups were made before the messages.
    pub(crate) fn owners(&self, lines: Vec<Line>) -> anyhow::Result<()> {
        let owner = |line| match line {
            Line::Group { group, .. } => {
                let GroupCreate { group, owner, .. } = *group;
                let member = ImportMember { user: owner, admin: false, joined_s: None, unread: 0 };
                let named = UserKey::new(self.asker.app, &member.user).is_ok();
                named.then_some(Line::Member { group, member })
            }
            _ => None,
        };
        let owners: Vec<_> = lines.into_iter().filter_map(owner).collect();
        self.members(&owners).map(drop)
    }
}

const RELATION_NO_ACCOUNT: u32 = 30003;
const RELATION_BAD: u32 = 30001;

/// Items in a row that belong together, at most `max` of them.
fn runs<T, K: PartialEq>(items: &[T], key: impl Fn(&T) -> K, max: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.len() < max && key(&items[run.start]) == key(item) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_the_key_changes_and_where_they_are_full() {
        assert_eq!(runs(&[1, 1, 2, 1, 1, 1], |n| *n, 2), [0..2, 2..3, 3..5, 5..6]);
        assert!(runs(&[], |n: &u8| *n, 2).is_empty());
    }
}
