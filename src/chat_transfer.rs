//! Files that `chat` sends and fetches: tasks beside the terminal.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearport_client::media::{self, Attachment, MediaBegin, MediaError, MediaKind, MediaUpload, Uploaded};
use nearport_client::{Client, Content, Element, HistoryRange, Target};
use nearport_wire::body::{self, element};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::chat_command::{Upload, Wanted, escape, expand, words};
use crate::chat_text::{attachment_text, bytes};
use crate::node;

/// Files on their way at once.
const AT_ONCE: usize = 4;
/// Uploads that did not come to their end and are taken up again when the same is sent once more.
const KEPT_MAX: usize = 16;
/// The largest file of the contract, should an element not say how long it is.
const BYTES_MAX: u64 = 100 << 20;
/// Words about progress that wait. More are left out: the next one says more.
const TELL_MAX: usize = 64;
/// Paths that Tab looks at.
const PATHS_MAX: usize = 512;

/// What a file came to.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It is with the server: the element goes to whom it was meant for.
    Up {
        id: u64,
        peer: Target,
        content: Box<Content>,
        label: String,
    },
    /// It is here.
    Down {
        id: u64,
        path: PathBuf,
        size: u64,
    },
    Failed {
        id: u64,
        why: String,
    },
}

/// Octets that are there, of how many, of which transfer.
pub(crate) type Progress = (u64, u64, u64);

/// Files on their way.
#[derive(Debug)]
pub(crate) struct Transfers {
    client: Client,
    pub(crate) running: JoinSet<Ended>,
    tell: mpsc::Sender<Progress>,
    pub(crate) progress: mpsc::Receiver<Progress>,
    kept: Kept,
}

/// Uploads that were begun.
type Kept = Arc<Mutex<VecDeque<(MediaBegin, MediaUpload)>>>;

impl Transfers {
    pub(crate) fn new(client: &Client) -> Self {
        let (tell, progress) = mpsc::channel(TELL_MAX);
        Self { client: client.clone(), running: JoinSet::new(), tell, progress, kept: Kept::default() }
    }

    /// Why nothing more can be taken, if so.
    pub(crate) fn refusal(&self) -> Option<String> {
        let full = self.running.len() >= AT_ONCE;
        full.then(|| format!("{AT_ONCE} files are on their way: wait, or /cancel"))
    }

    /// Sends a file as transfer `id`.
    pub(crate) fn upload(&mut self, id: u64, peer: Target, upload: Upload) {
        let (client, kept, tell) = (self.client.clone(), Arc::clone(&self.kept), self.tell.clone());
        self.running.spawn(async move {
            let progress = move |at, of| {
                let _ = tell.try_send((id, at, of));
            };
            match up(&client, &kept, &upload, progress).await {
                Ok(element) => {
                    let what = Attachment::of(&element);
                    let label = what.map_or_else(String::new, |what| format!("[{}]", attachment_text(&what)));
                    let content = Box::new(Content { elements: vec![element], ..Content::default() });
                    Ended::Up { id, peer, content, label }
                }
                Err(error) => Ended::Failed { id, why: error.to_string() },
            }
        });
    }

    /// Fetches a file as transfer `id`.
    pub(crate) fn download(&mut self, id: u64, wanted: Wanted, path: Option<PathBuf>) {
        let (client, tell) = (self.client.clone(), self.tell.clone());
        self.running.spawn(async move {
            let progress = move |at, of| {
                let _ = tell.try_send((id, at, of));
            };
            match down(&client, wanted, path, progress).await {
                Ok((path, size)) => Ended::Down { id, path, size },
                Err(why) => Ended::Failed { id, why },
            }
        });
    }

    /// Gives all up. What has come of uploads stays with the server; sent again, they go on from there. Returns how many there were.
    pub(crate) async fn cancel(&mut self) -> usize {
        let count = self.running.len();
        self.running.shutdown().await;
        while self.progress.try_recv().is_ok() {}
        count
    }
}

/// Uploads what a command names, and makes the element.
async fn up(
    client: &Client,
    kept: &Kept,
    upload: &Upload,
    progress: impl FnMut(u64, u64),
) -> Result<Element, MediaError> {
    let cover = match &upload.cover {
        Some(cover) => Some(content(client, kept, cover, MediaKind::Image, |_, _| {}).await?),
        None => None,
    };
    let done = content(client, kept, &upload.path, upload.kind, progress).await?;
    Ok(done.element(upload.kind, &upload.path, upload.second, cover.as_ref()))
}

async fn content(
    client: &Client,
    kept: &Kept,
    path: &Path,
    kind: MediaKind,
    mut progress: impl FnMut(u64, u64),
) -> Result<Uploaded, MediaError> {
    let said = media::describe(path, kind).await?;
    let network = client.network();
    // Given up before, or the way was gone: it goes on where the server is.
    let before = lock(kept).iter().find(|(known, _)| *known == said).map(|(_, begun)| begun.clone());
    if let Some(begun) = before.filter(|begun| begun.expires_s > node::now_ms() / 1000) {
        match media::upload(network, &begun, path, &mut progress).await {
            // Of no use any more: it begins anew.
            Err(MediaError::Refused { .. }) => {}
            other => return forget(kept, &said, other),
        }
    }
    let begun = media::begin(client, &said).await?;
    {
        let mut kept = lock(kept);
        // One that has expired would be found again in place of this one.
        kept.retain(|(known, _)| *known != said);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((said.clone(), begun.clone()));
    }
    let done = media::upload(network, &begun, path, progress).await;
    forget(kept, &said, done)
}

/// What is complete, or refused for good, is not taken up again.
fn forget(
    kept: &Kept,
    said: &MediaBegin,
    done: Result<Uploaded, MediaError>,
) -> Result<Uploaded, MediaError> {
    if matches!(done, Ok(_) | Err(MediaError::Refused { .. })) {
        lock(kept).retain(|(known, _)| known != said);
    }
    done
}

fn lock(kept: &Kept) -> MutexGuard<'_, VecDeque<(MediaBegin, MediaUpload)>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn down(
    client: &Client,
    wanted: Wanted,
    path: Option<PathBuf>,
    progress: impl FnMut(u64, u64),
) -> Result<(PathBuf, u64), String> {
    let what = match wanted {
        Wanted::Shown(what) => what,
        Wanted::Numbered(with, seq) => {
            let page = client.history(with, HistoryRange::Before(seq + 1), 1).await;
            let page = page.map_err(|error| error.to_string())?;
            let found = page.messages.into_iter().find(|message| message.seq == seq);
            let found = found.ok_or_else(|| format!("there is no message #{seq} here"))?;
            found.attachments().into_iter().next().ok_or_else(|| format!("message #{seq} has no file"))?
        }
        Wanted::Uuid(uuid) => {
            let file = body::File { uuid, ..body::File::default() };
            let element = body::Element { element: Some(element::Element::File(file)), ..Default::default() };
            Attachment::of(&element).ok_or_else(|| "that is no file".to_owned())?
        }
    };
    let into = match path {
        None => PathBuf::from(what.file_name()),
        Some(path) if path.is_dir() => path.join(what.file_name()),
        Some(path) => path,
    };
    // A name that somebody else chose must not replace anything, and one's own slip neither.
    if into.exists() {
        return Err(format!("{} is there already", into.display()));
    }
    let size = client.download(&what, &into, BYTES_MAX, progress).await.map_err(|error| error.to_string())?;
    Ok((into, size))
}

/// What stands behind a transfer's name once it is here.
pub(crate) fn arrived(path: &Path, size: u64) -> String {
    format!("{} in {}", bytes(size), path.display())
}

/// The line as it would be with each path that fits what is typed, and where its last word begins.
pub(crate) fn paths(typed: &str) -> (usize, Vec<String>) {
    // Of the words that are typed the last one is the path so far; a space behind it begins another.
    let start = last_word(typed);
    let word = words(&typed[start..]).pop().unwrap_or_default();
    let (folder, name) = word.rfind('/').map_or(("", word.as_str()), |at| word.split_at(at + 1));
    let looked = if folder.is_empty() { PathBuf::from(".") } else { expand(folder) };
    let entries = std::fs::read_dir(looked).into_iter().flatten().flatten();
    let fit = entries.filter_map(|entry| {
        let found = entry.file_name().into_string().ok()?;
        // Hidden ones only for who asks for them.
        if !found.starts_with(name) || (found.starts_with('.') && !name.starts_with('.')) {
            return None;
        }
        let slash = if entry.path().is_dir() { "/" } else { "" };
        Some(format!("{}{}{slash}", &typed[..start], escape(&format!("{folder}{found}"))))
    });
    let mut lines: Vec<String> = fit.take(PATHS_MAX).collect();
    lines.sort();
    (start, lines)
}

/// Where the last word begins, whose spaces stand behind a backslash.
fn last_word(typed: &str) -> usize {
    let mut start = 0;
    let mut kept = false;
    for (at, c) in typed.char_indices() {
        if c.is_whitespace() && !kept {
            start = at + c.len_utf8();
        }
        kept = c == '\\' && !kept;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_completed_word_by_word() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one.png", "one two.png", ".hidden"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("other")).unwrap();
        let root = dir.path().display();
        let typed = format!("/image {root}/o");
        let (start, lines) = paths(&typed);
        assert_eq!(start, 7);
        let names = ["one.png", "one\\ two.png", "other/"].map(|name| format!("/image {root}/{name}"));
        let mut names = names.to_vec();
        names.sort();
        assert_eq!(lines, names);
        assert_eq!(paths(&format!("/image {root}/one\\ t")).1, [format!("/image {root}/one\\ two.png")]);
        assert_eq!(paths(&format!("/image {root}/.h")).1, [format!("/image {root}/.hidden")]);
        assert_eq!(paths(&format!("/image {root}/none/x")).1, [""; 0]);
    }
}
