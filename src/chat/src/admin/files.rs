//! Files of messages by their URLs.

use super::Admin;
use crate::key::AppId;
use crate::media::{NoFile, Seen};
use crate::reply::Failure;

/// A parameter is wrong.
const BAD: u32 = 60003;
/// The store does not answer, or there is none.
const INTERNAL: u32 = 60008;

impl Admin {
    /// Serves the file of a URL to nobody any more, which is durable when it is done, or again.
    ///
    /// # Errors
    /// 60003 for what is no URL of a file of the App that is there, 60008.
    pub async fn ban_file(&self, app: AppId, url: String, banned: bool) -> Result<(), Failure> {
        let store = self.shared.media.get().ok_or_else(none)?;
        store.ban(app, url, banned).await.map_err(|why| failure(&why))
    }

    /// What these URLs lead to, in their order.
    ///
    /// # Errors
    /// 60008.
    pub async fn files(&self, app: AppId, urls: Vec<String>) -> Result<Vec<Result<Seen, NoFile>>, Failure> {
        let store = self.shared.media.get().ok_or_else(none)?;
        Ok(store.look(app, urls).await)
    }
}

fn failure(why: &NoFile) -> Failure {
    let code = if let NoFile::Unavailable(_) = why { INTERNAL } else { BAD };
    Failure::new(code, why.to_string())
}

fn none() -> Failure {
    Failure::new(INTERNAL, "this server keeps no files")
}
