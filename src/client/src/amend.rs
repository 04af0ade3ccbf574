//! What a client does to messages that exist: take back, change, delete, confirm.

use nearport_wire::Kind;
use nearport_wire::body::{self, amend::Amend, target::Target};

use crate::client::Client;
use crate::error::RequestError;
use crate::event::Element;

/// Messages that were confirmed, or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confirmed {
    /// Those of which nothing became: they do not exist, or need no receipt.
    pub invalid: Vec<u64>,
}

/// Who has read a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readers {
    /// How many have.
    pub read: u32,
    /// How many have not, of those who were there when it was sent.
    pub unread: u32,
    /// Names, ascending by bytes.
    pub names: Vec<String>,
    /// Nobody comes after the last name.
    pub complete: bool,
}

/// # Messages that exist
///
/// All of these wait for a connection if there is none, and are asked again after a reconnect: each does the same the second time.
/// Dropped early, a call that has gone out is carried out all the same.
impl Client {
    /// Takes a message back, for everybody: the sender within a time (two minutes, unless the server says otherwise), in a group
    /// also who stands above the sender. Everybody gets [`Event::Recalled`](crate::Event::Recalled).
    ///
    /// # Errors
    /// [`RequestError`]; refused with 20016 or 10031 when the time is over, 20023 (in a group 10032) when that was done before. A recall
    /// that this client repeats by itself, because the session was lost before the answer, is done in that case; who calls again after
    /// [`Failure::Timeout`](crate::Failure::Timeout) takes these codes for success.
    pub async fn recall(&self, with: Target, seq: u64, reason: &str) -> Result<(), RequestError> {
        let recall = body::Recall { with: target(with), seq, reason: reason.to_owned() };
        self.amend(Amend::Recall(recall)).await.map(|_| ())
    }

    /// Changes what a message of one's own says, for everybody. They get [`Event::Edited`](crate::Event::Edited).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn edit(&self, with: Target, seq: u64, elements: Vec<Element>) -> Result<(), RequestError> {
        let edit = body::Edit { with: target(with), seq, elements, cloud_custom_data: None };
        self.amend(Amend::Edit(edit)).await.map(|_| ())
    }

    /// Deletes messages, at most 30, for this user on all devices.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete(&self, with: Target, seqs: Vec<u64>) -> Result<Confirmed, RequestError> {
        let amended = self.amend(Amend::Hide(body::Hide { with: target(with), seqs })).await?;
        Ok(Confirmed { invalid: amended.invalid })
    }

    /// Deletes the history of a conversation up to message `seq` (0: all that there is now) for this user on all devices.
    /// Returns up to which message.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn clear(&self, with: Target, seq: u64) -> Result<u64, RequestError> {
        Ok(self.amend(Amend::Clear(body::Clear { with: target(with), seq })).await?.seq)
    }

    /// Tells the senders of messages, at most 30, that this user has read them: those with
    /// [`Message::need_receipt`](crate::Message::need_receipt).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn confirm_read(&self, with: Target, seqs: Vec<u64>) -> Result<Confirmed, RequestError> {
        let amended = self.amend(Amend::Receipts(body::Receipts { with: target(with), seqs })).await?;
        Ok(Confirmed { invalid: amended.invalid })
    }

    /// Who has read a message of one's own that needs receipts: up to `limit` names (0: the counts only) after the name `after`;
    /// `unread`: those who have not.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::NoReceipts`] if the server has no counts of the message.
    pub async fn readers(
        &self,
        with: Target,
        seq: u64,
        after: &str,
        limit: u32,
        unread: bool,
    ) -> Result<Readers, RequestError> {
        let ask =
            body::Readers { with: target(with), seqs: vec![seq], after: after.to_owned(), limit, unread };
        let page: body::ReaderPage = self.call(Kind::READERS, &ask, true).await?;
        let count = page.counts.first().copied().ok_or(RequestError::NoReceipts)?;
        let body::ReaderPage { names, complete, .. } = page;
        Ok(Readers { read: count.read, unread: count.unread, names, complete })
    }

    /// Changes the cloud custom data of a message of one's own, for everybody; what it says stays.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn edit_data(&self, with: Target, seq: u64, data: &str) -> Result<(), RequestError> {
        let edit = body::Edit {
            with: target(with),
            seq,
            elements: Vec::new(),
            cloud_custom_data: Some(data.to_owned()),
        };
        self.amend(Amend::Edit(edit)).await.map(|_| ())
    }

    /// How many have read messages of one's own, at most 30, and how many have not: `(seq, read, unread)` of each that has
    /// receipts.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn read_counts(
        &self,
        with: Target,
        seqs: Vec<u64>,
    ) -> Result<Vec<(u64, u32, u32)>, RequestError> {
        let ask = body::Readers { with: target(with), seqs, ..body::Readers::default() };
        let page: body::ReaderPage = self.call(Kind::READERS, &ask, true).await?;
        Ok(page.counts.iter().map(|count| (count.seq, count.read, count.unread)).collect())
    }

    async fn amend(&self, amend: Amend) -> Result<body::Amended, RequestError> {
        // Each of them does the same the second time; the core knows a recall that is refused as done.
        self.call(Kind::AMEND, &body::Amend { amend: Some(amend) }, true).await
    }
}

pub(crate) fn target(target: Target) -> Option<body::Target> {
    Some(body::Target { target: Some(target) })
}
