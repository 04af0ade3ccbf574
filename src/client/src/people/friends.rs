//! Friends, applications for a friendship, groups of friends, the blocklist.

use nearport_wire::body::{self, people_answer::Answer, people_call::Call};

use super::{
    BlockPage, FriendAddItem, FriendAddType, FriendApplicationAnswer, FriendApplicationAnswerType,
    FriendApplicationPage, FriendGroups, FriendInfo, FriendList, FriendPage, FriendUpdateItem, PeopleResult,
    RelationItem,
};
use crate::client::Client;
use crate::error::RequestError;

/// # Friends and others
///
/// Waiting, asking again and dropping are as with the calls about people.
impl Client {
    /// Asks for a friendship, both ways. Code 30539: the other one must confirm.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn add_friend(&self, user: &str, wording: &str) -> Result<PeopleResult, RequestError> {
        let item = FriendAddItem {
            user: user.into(),
            source: "AddSource_Type_Rust".into(),
            wording: wording.into(),
            ..FriendAddItem::default()
        };
        self.one_result(add(vec![item], FriendAddType::Both)).await
    }

    /// Asks for friendships, with remarks and groups of friends from the beginning.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn add_friends(
        &self,
        items: Vec<FriendAddItem>,
        r#type: FriendAddType,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        self.results(add(items, r#type)).await
    }

    /// Changes remark, groups and custom fields of friends.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn update_friends(
        &self,
        items: Vec<FriendUpdateItem>,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        self.results(Call::FriendUpdate(body::FriendUpdate { items })).await
    }

    /// Ends a friendship, both ways.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_friend(&self, user: &str) -> Result<PeopleResult, RequestError> {
        self.one_result(Call::FriendDelete(body::FriendDelete { users: vec![user.into()], both: true })).await
    }

    /// Takes users from the list of friends; `both`: this user from theirs, too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_friends(
        &self,
        users: Vec<String>,
        both: bool,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        self.results(Call::FriendDelete(body::FriendDelete { users, both })).await
    }

    /// Ends all friendships; `both`: on the other side, too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_all_friends(&self, both: bool) -> Result<(), RequestError> {
        self.people_done(Call::FriendDeleteAll(body::FriendDeleteAll { both })).await
    }

    /// Who has whom as a friend; `both`: the other one's list is looked at, too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn check_friends(
        &self,
        users: Vec<String>,
        both: bool,
    ) -> Result<Vec<RelationItem>, RequestError> {
        let call = Call::FriendCheck(body::FriendCheck { users, both });
        Ok(expect!(self.people_call(call).await, FriendChecks)?.items)
    }

    /// A page of the user's friends, from [`FriendPage::next`] of the page before on, at first 0.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn friends(&self, start: u32, limit: u32) -> Result<FriendPage, RequestError> {
        self.friends_since(FriendList { start, limit, ..FriendList::default() }).await
    }

    /// As [`Self::friends`], without what is known: the sequences of an earlier page.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn friends_since(&self, list: FriendList) -> Result<FriendPage, RequestError> {
        expect!(self.people_call(Call::FriendList(list)).await, Friends)
    }

    /// Friendships and profiles of users, at most 100; empty `tags`: all fields that this user may read.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn friend_infos(
        &self,
        users: Vec<String>,
        tags: Vec<String>,
    ) -> Result<Vec<FriendInfo>, RequestError> {
        let call = Call::FriendGet(body::FriendGet { users, tags });
        Ok(expect!(self.people_call(call).await, FriendInfos)?.items)
    }

    /// A page of the applications for a friendship that came in, or that this user `sent`: the newest at first (`before` 0), then
    /// before [`FriendApplicationPage::next`] of the page before.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn friend_applications(
        &self,
        before: u64,
        limit: u32,
        sent: bool,
    ) -> Result<FriendApplicationPage, RequestError> {
        let call = Call::ApplicationList(body::FriendApplicationList { before, limit, sent });
        expect!(self.people_call(call).await, Applications)
    }

    /// Decides about somebody's application for a friendship.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn answer_friend(
        &self,
        user: &str,
        answer: FriendApplicationAnswerType,
    ) -> Result<PeopleResult, RequestError> {
        let answer = FriendApplicationAnswer {
            users: vec![user.into()],
            r#type: answer.into(),
            ..FriendApplicationAnswer::default()
        };
        self.one_result(Call::ApplicationAnswer(answer)).await
    }

    /// Decides about applications, with remark and group of friends for those that become friends.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn answer_friends(
        &self,
        answer: FriendApplicationAnswer,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        self.results(Call::ApplicationAnswer(answer)).await
    }

    /// Says that the applications that came in are read up to an id.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn mark_applications_read(&self, id: u64) -> Result<(), RequestError> {
        self.people_done(Call::ApplicationRead(body::FriendApplicationRead { id })).await
    }

    /// Removes applications that came from users, or takes back those that were `sent` to them.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_applications(
        &self,
        users: Vec<String>,
        sent: bool,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        self.results(Call::ApplicationDelete(body::FriendApplicationDelete { users, sent })).await
    }

    /// Puts somebody on the blocklist: no message of theirs comes, and no friendship is left.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn block(&self, user: &str) -> Result<PeopleResult, RequestError> {
        self.one_result(Call::BlockAdd(body::BlockAdd { users: vec![user.into()] })).await
    }

    /// Takes somebody off the blocklist.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unblock(&self, user: &str) -> Result<PeopleResult, RequestError> {
        self.one_result(Call::BlockDelete(body::BlockDelete { users: vec![user.into()] })).await
    }

    /// Who has blocked whom; `both`: the other one's list is looked at, too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn check_blocks(
        &self,
        users: Vec<String>,
        both: bool,
    ) -> Result<Vec<RelationItem>, RequestError> {
        let call = Call::BlockCheck(body::BlockCheck { users, both });
        Ok(expect!(self.people_call(call).await, FriendChecks)?.items)
    }

    /// A page of the blocklist, from [`BlockPage::next`] of the page before on, at first 0. `known`: the sequence of the list that is
    /// known, 0 for none; the page is empty if that is how it stands.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn blocks(&self, start: u32, limit: u32, known: u64) -> Result<BlockPage, RequestError> {
        let call = Call::BlockList(body::BlockList { start, limit, sequence: known });
        expect!(self.people_call(call).await, Blocks)
    }

    /// Makes groups of friends, and puts friends into each of them.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn create_friend_groups(
        &self,
        names: Vec<String>,
        users: Vec<String>,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        self.results(Call::FriendGroupAdd(body::FriendGroupAdd { names, users })).await
    }

    /// Removes groups of friends, who stay friends.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_friend_groups(&self, names: Vec<String>) -> Result<Vec<PeopleResult>, RequestError> {
        self.results(Call::FriendGroupDelete(body::FriendGroupDelete { names })).await
    }

    /// Groups of friends; empty `names`: all. `members`: with the names of those who are in them.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn friend_groups(
        &self,
        names: Vec<String>,
        members: bool,
    ) -> Result<FriendGroups, RequestError> {
        let call = Call::FriendGroupList(body::FriendGroupList { names, members, sequence: 0 });
        expect!(self.people_call(call).await, FriendGroups)
    }

    /// Gives a group of friends another name.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn rename_friend_group(
        &self,
        name: &str,
        new_name: &str,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        let rename = body::FriendGroupRename { name: name.into(), new_name: new_name.into() };
        self.results(Call::FriendGroupRename(rename)).await
    }

    /// Puts friends into a group of friends and takes others out.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn change_friend_group(
        &self,
        name: &str,
        add: Vec<String>,
        remove: Vec<String>,
    ) -> Result<Vec<PeopleResult>, RequestError> {
        let change = body::FriendGroupMembers { name: name.into(), add, remove };
        self.results(Call::FriendGroupMembers(change)).await
    }
}

fn add(items: Vec<FriendAddItem>, r#type: FriendAddType) -> Call {
    Call::FriendAdd(body::FriendAdd { items, r#type: r#type.into() })
}
