//! Lines that an import did not take, each with its place and the reason: a file of JSON lines beside the store.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::import_lines::Entry;

/// Most bytes of it: an import of which so much is not taken is of files in another form.
const BYTES_MAX: u64 = 256 << 20;

/// The file, of which what stands behind the mark was cut off.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    /// Made with the first line.
    file: Option<BufWriter<std::fs::File>>,
    bytes: u64,
}

/// A line of it.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    file: String,
    line: u64,
    byte: u64,
    /// Which file of the import, from 0: paths may be no text.
    index: usize,
    code: u32,
    reason: String,
    /// The line as it stands in the file.
    text: String,
}

impl Rejects {
    /// Goes on behind the first `bytes` of it; 0: begins anew.
    ///
    /// # Errors
    /// It is shorter than that, or cannot be written.
    pub(crate) fn open(path: &Path, bytes: u64) -> anyhow::Result<Self> {
        let at = |error: std::io::Error| anyhow::anyhow!("{}: {error}", path.display());
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && bytes == 0 => None,
            Err(error) => return Err(at(error)),
            Ok(mut file) => {
                let there = file.metadata().map_err(at)?.len();
                anyhow::ensure!(there >= bytes, "{} has lost lines since this import began", path.display());
                // What came behind the mark comes again.
                file.set_len(bytes).map_err(at)?;
                file.seek(SeekFrom::Start(bytes)).map_err(at)?;
                Some(BufWriter::new(file))
            }
        };
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Appends a line.
    pub(crate) fn note(
        &mut self,
        index: usize,
        path: &Path,
        entry: &Entry,
        code: u32,
        reason: &str,
    ) -> anyhow::Result<()> {
        let row = Row {
            file: path.display().to_string(),
            line: entry.line,
            byte: entry.offset,
            index,
            code,
            reason: reason.to_owned(),
            text: String::from_utf8_lossy(&entry.text).into_owned(),
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let made = OpenOptions::new().read(true).write(true).create_new(true).open(&self.path);
                let made = made.map_err(|error| anyhow::anyhow!("{}: {error}", self.path.display()))?;
                none.insert(BufWriter::new(made))
            }
        };
        let mut text = serde_json::to_vec(&row)?;
        text.push(b'\n');
        self.bytes += text.len() as u64;
        anyhow::ensure!(self.bytes <= BYTES_MAX, "too many lines are not taken: see {}", self.path.display());
        Ok(file.write_all(&text)?)
    }

    /// Waits until all of it is on disk; how long it is.
    pub(crate) fn sync(&mut self) -> anyhow::Result<u64> {
        if let Some(file) = &mut self.file {
            file.flush()?;
            file.get_ref().sync_data()?;
        }
        Ok(self.bytes)
    }

    /// Which lines of a file were not taken, by where they begin.
    pub(crate) fn of_file(&self, index: usize) -> anyhow::Result<BTreeSet<u64>> {
        let mut bytes = BTreeSet::new();
        if self.bytes == 0 {
            return Ok(bytes);
        }
        for line in BufReader::new(std::fs::File::open(&self.path)?).lines() {
            let row: Row = serde_json::from_str(&line?)?;
            if row.index == index {
                bytes.insert(row.byte);
            }
        }
        Ok(bytes)
    }
}
