//! Rows of files on their way: each stands where it was printed and is drawn anew in its place.

use std::collections::BTreeMap;

use crate::chat_screen::{Place, Screen};
use crate::chat_text::bar;

/// What stands in front of what is nobody's message.
const HEAD: &str = "-- ";

/// The rows, by number of the transfer. As many as the shell has on their way at once.
#[derive(Debug, Default)]
pub(crate) struct TransferRows {
    rows: BTreeMap<u64, Row>,
    begun: u64,
}

#[derive(Debug)]
struct Row {
    label: String,
    place: Place,
    text: String,
}

impl TransferRows {
    /// Prints a row for a file; gives its number.
    pub(crate) fn begin(&mut self, screen: &mut Screen, label: &str) -> u64 {
        self.begun += 1;
        let text = format!("{label} …");
        let place = screen.print(HEAD, &text);
        self.rows.insert(self.begun, Row { label: label.to_owned(), place, text });
        self.begun
    }

    /// So much of it is there. A row that has scrolled away is not drawn any more.
    pub(crate) fn progress(&mut self, screen: &mut Screen, id: u64, at: u64, of: u64) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let text = format!("{} {}", row.label, bar(at, of));
        if text != row.text {
            screen.rewrite(row.place, HEAD, &text);
            row.text = text;
        }
    }

    /// It is there, or why it is not: said in its row, or anew if that is gone.
    pub(crate) fn end(&mut self, screen: &mut Screen, id: u64, outcome: &Result<String, String>) {
        let Some(row) = self.rows.remove(&id) else { return };
        let text = match outcome {
            Ok(done) => format!("{} {done}", row.label),
            Err(why) => format!("{} failed: {why}", row.label),
        };
        if !screen.rewrite(row.place, HEAD, &text) {
            screen.print(HEAD, &text);
        }
    }

    /// All were given up. `false`: there were none.
    pub(crate) fn end_all(&mut self, screen: &mut Screen) -> bool {
        let given_up = Err("given up".to_owned());
        let any = !self.rows.is_empty();
        for id in self.rows.keys().copied().collect::<Vec<_>>() {
            self.end(screen, id, &given_up);
        }
        any
    }
}
