//! Reads the files of an import on a thread of its own: lines become items, in chunks of bounded size.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::sync::mpsc::SyncSender;

use aws_lc_rs::digest;
use nearport_chat::key::AppId;
use nearport_rest::lines::{self, Bad, Kind, Line, Sort};

use crate::import_files::{File, Phase, Place, Read, hex};

/// Longest line: a message has 12 KiB at most, in whatever way its characters are escaped.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Lines of a chunk, and bytes of them.
const CHUNK_LINES: usize = 1000;
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes that a chunk steps over at most: marks move on also where nothing is to be done.
const CHUNK_SPAN: u64 = 16 << 20;

/// Where something stands that is for the present phase, or is not taken.
#[derive(Debug)]
pub(crate) struct Entry {
    /// From 1.
    pub(crate) line: u64,
    /// Where it begins.
    pub(crate) offset: u64,
    pub(crate) kind: Option<Kind>,
    /// As it stands in the file, without its end.
    pub(crate) text: Vec<u8>,
}

/// Lines that stand in a row in one file.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) file: usize,
    pub(crate) entries: Vec<(Entry, Result<Line, Bad>)>,
    /// Behind them.
    pub(crate) next: Place,
    /// The file has ended, and this is what it was.
    pub(crate) ended: Option<Read>,
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}: {1}")]
    Io(String, io::Error),
    #[error("{0} has changed since it was read: begin anew with --restart, what is stored already is found")]
    Changed(String),
}

/// Reads what `phase` takes, from `from` to the end of the last file. Ends early if nobody takes chunks any more.
pub(crate) fn read(
    app: AppId,
    files: &[File],
    phase: Phase,
    from: &Place,
    chunks: &SyncSender<Result<Chunk, ReadError>>,
) {
    for (index, file) in files.iter().enumerate().skip(from.file) {
        let from = if index == from.file { from.clone() } else { Place::start_of(index) };
        if !file.has(phase) {
            continue;
        }
        match Reader::open(app, file, phase, from).and_then(|reader| reader.run(chunks)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                // Nobody listens: then it has ended already.
                let _ = chunks.send(Err(error));
                return;
            }
        }
    }
}

struct Reader<'a> {
    app: AppId,
    phase: Phase,
    file: &'a File,
    input: BufReader<fs::File>,
    digest: digest::Context,
    place: Place,
    kinds: BTreeSet<Kind>,
    line: Vec<u8>,
    /// Where that line begins.
    begins: u64,
}

impl<'a> Reader<'a> {
    /// Goes to `from` and looks whether what stands in front of it is what was read then.
    fn open(app: AppId, file: &'a File, phase: Phase, from: Place) -> Result<Self, ReadError> {
        let name = || file.path.display().to_string();
        let input = fs::File::open(&file.path).map_err(|error| ReadError::Io(name(), error))?;
        let mut input = BufReader::with_capacity(1 << 18, input);
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut left = from.offset;
        while left > 0 {
            let some = input.fill_buf().map_err(|error| ReadError::Io(name(), error))?;
            let count = some.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(ReadError::Changed(name()));
            }
            digest.update(&some[..count]);
            input.consume(count);
            left -= count as u64;
        }
        if hex(digest.clone().finish().as_ref()) != from.digest {
            return Err(ReadError::Changed(name()));
        }
        // Kinds of what was passed over are not known: only who has read all of a file says what is in it.
        let kinds = if from.offset == 0 { BTreeSet::new() } else { Kind::ALL.into_iter().collect() };
        let begins = from.offset;
        Ok(Self { app, phase, file, input, digest, place: from, kinds, line: Vec::new(), begins })
    }

    /// Whether the file was read to its end.
    fn run(mut self, chunks: &SyncSender<Result<Chunk, ReadError>>) -> Result<bool, ReadError> {
        loop {
            let chunk = self.chunk()?;
            let ended = chunk.ended.is_some();
            if chunks.send(Ok(chunk)).is_err() {
                return Ok(false);
            }
            if ended {
                return Ok(true);
            }
        }
    }

    fn chunk(&mut self) -> Result<Chunk, ReadError> {
        let begun = self.place.offset;
        let (mut entries, mut bytes, mut ended) = (Vec::new(), 0, None);
        while entries.len() < CHUNK_LINES
            && bytes < CHUNK_BYTES
            && self.place.offset - begun < CHUNK_SPAN
            && ended.is_none()
        {
            match self.next_line() {
                Ok(true) => {
                    if let Some(entry) = self.entry() {
                        bytes += entry.0.text.len();
                        entries.push(entry);
                    }
                }
                Ok(false) => {
                    let digest = hex(self.digest.clone().finish().as_ref());
                    if self.file.read.as_ref().is_some_and(|read| read.digest != digest) {
                        return Err(ReadError::Changed(self.file.path.display().to_string()));
                    }
                    let kinds = self.kinds.iter().map(|kind| kind.name().to_owned()).collect();
                    ended = Some(Read { digest, kinds });
                }
                Err(error) => return Err(ReadError::Io(self.file.path.display().to_string(), error)),
            }
        }
        self.place.digest = hex(self.digest.clone().finish().as_ref());
        let next = match ended {
            Some(_) => Place::start_of(self.place.file + 1),
            None => self.place.clone(),
        };
        Ok(Chunk { file: self.place.file, entries, next, ended })
    }

    /// Reads a line into `self.line`, which is longer than a line may be if it was. `false`: there is none any more.
    fn next_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.begins = self.place.offset;
        (&mut self.input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(false);
        }
        self.digest.update(&self.line);
        self.place.offset += self.line.len() as u64;
        self.place.line += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            return Ok(true);
        }
        let mut rest = Vec::new();
        while self.line.len() as u64 > LINE_BYTES_MAX {
            rest.clear();
            (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut rest)?;
            self.digest.update(&rest);
            self.place.offset += rest.len() as u64;
            if rest.is_empty() || rest.last() == Some(&b'\n') {
                break;
            }
        }
        Ok(true)
    }

    /// What the line is, if this phase has to do with it. What is of no kind is the first phase's.
    fn entry(&mut self) -> Option<(Entry, Result<Line, Bad>)> {
        let first = self.phase == Phase::Accounts;
        let too_long = self.line.len() as u64 > LINE_BYTES_MAX;
        let sort = match too_long {
            true => Err(Bad::too_long(LINE_BYTES_MAX)),
            false => lines::sort(&self.line),
        };
        let (kind, read) = match sort {
            Ok(Sort::Blank | Sort::Format) => return None,
            Ok(Sort::Is(kind)) => {
                self.kinds.insert(kind);
                if !self.phase.takes(kind) {
                    return None;
                }
                (Some(kind), lines::read(self.app, kind, &self.line))
            }
            Err(bad) if first => (None, Err(bad)),
            Err(_) => return None,
        };
        let mut text = std::mem::take(&mut self.line);
        // What is too long is not repeated whole.
        if too_long {
            text.truncate(1000);
        }
        Some((Entry { line: self.place.line, offset: self.begins, kind, text }, read))
    }
}
