//! What `chat` draws: lines that scroll up and one row at the bottom for status and typing. Pure: it fills a string
//! with text and control sequences, and somebody else writes that to the terminal.
//!
//! All writing goes through here, so incoming lines never tear the line being typed, and the screen knows how many
//! rows above the bottom an earlier line stands: ticks are changed in place as long as it is visible. Lines are
//! wrapped here and not by the terminal, or that count would be a guess.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns below which a terminal is treated as if it had these: nothing sensible fits.
const COLUMNS_MIN: usize = 20;

/// Where a printed line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    row: u64,
    /// How many it takes.
    rows: u64,
    /// Rows move when the terminal's size changes, nobody knows where to.
    epoch: u32,
}

/// The screen; see the module documentation.
#[derive(Debug)]
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    /// Rows printed since the start.
    printed: u64,
    epoch: u32,
    out: String,
}

impl Screen {
    pub(crate) fn new((columns, rows): (usize, usize)) -> Self {
        Self { columns: columns.max(COLUMNS_MIN), rows, printed: 0, epoch: 0, out: String::new() }
    }

    /// The terminal has another size now.
    pub(crate) fn resize(&mut self, (columns, rows): (usize, usize)) {
        self.columns = columns.max(COLUMNS_MIN);
        self.rows = rows;
        self.epoch += 1;
    }

    /// What to write to the terminal.
    pub(crate) fn take_output(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// Prints above the bottom row: `head` once, then `text`, whose further rows are indented as far as `head` is
    /// wide. The bottom row is gone until [`Screen::bottom`] draws it again. Control characters are made harmless.
    pub(crate) fn print(&mut self, head: &str, text: &str) -> Place {
        let first = self.printed;
        self.out.push_str("\r\x1b[2K");
        for row in self.layout(head, text) {
            self.out.push_str(&row);
            self.out.push('\n');
            self.printed += 1;
        }
        Place { row: first, rows: self.printed - first, epoch: self.epoch }
    }

    fn layout(&self, head: &str, text: &str) -> Vec<String> {
        // Names come from others too, and a head that takes most of the row leaves no room beside it.
        let (head, text) = (harmless(head), harmless(text));
        let (head, text) =
            if head.width() > self.columns / 2 { (String::new(), head + &text) } else { (head, text) };
        let indent = head.width();
        let rows = wrap(&text, self.columns - 1 - indent).into_iter().enumerate();
        let rows = rows.map(|(at, row)| match at {
            0 => format!("{head}{row}"),
            _ => format!("{:indent$}{row}", ""),
        });
        rows.collect()
    }

    /// Writes a printed line anew, in its place. `false`: it has scrolled away, or needs more rows than it has.
    pub(crate) fn rewrite(&mut self, place: Place, head: &str, text: &str) -> bool {
        let mut up = self.printed - place.row;
        let visible = usize::try_from(up).is_ok_and(|up| up < self.rows);
        let rows = self.layout(head, text);
        if !visible || place.epoch != self.epoch || rows.len() as u64 > place.rows {
            return false;
        }
        for at in 0..place.rows {
            let row = usize::try_from(at).ok().and_then(|at| rows.get(at)).map_or("", String::as_str);
            let _ = write!(self.out, "\r\x1b[{up}A\x1b[2K{row}\x1b[{up}B\r");
            up -= 1;
        }
        true
    }

    /// Replaces what stands at `column` of a printed line by `mark`, unless it has scrolled away.
    pub(crate) fn replace(&mut self, place: Place, column: usize, mark: &str) {
        let up = self.printed - place.row;
        let visible = usize::try_from(up).is_ok_and(|up| up < self.rows);
        if visible && place.epoch == self.epoch {
            let _ = write!(self.out, "\r\x1b[{up}A\x1b[{column}C{mark}\x1b[{up}B\r");
        }
    }

    /// Draws the bottom row. `line` gives the text and cursor column for the columns it gets.
    pub(crate) fn bottom(&mut self, status: &str, line: impl FnOnce(usize) -> (String, usize)) {
        let mut room = self.columns / 2;
        let fits = |c: &char| match room.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        let status: String = harmless(status).chars().take_while(fits).collect();
        let left = self.columns - 1 - status.width();
        let (text, cursor) = line(left);
        let cursor = status.width() + cursor;
        let _ = write!(self.out, "\r\x1b[2K{status}{text}\r");
        if cursor > 0 {
            let _ = write!(self.out, "\x1b[{cursor}C");
        }
    }

    /// Leaves the bottom row empty.
    pub(crate) fn clear_bottom(&mut self) {
        self.out.push_str("\r\x1b[2K");
    }
}

/// Text that cannot move the cursor or talk to the terminal: what others write is not to be trusted. Line breaks
/// become a visible sign, other control characters a replacement.
pub(crate) fn harmless(text: &str) -> String {
    let direction =
        |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let safe = |c: char| match c {
        '\n' => '⏎',
        '\t' => ' ',
        c if c.is_control() || direction(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// Rows of at most `columns` columns, broken at spaces where there are any; at least one row.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut used = 0;
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if used + width > columns {
            // Take the last word along, unless that leaves no room for what comes.
            let cut = row.rfind(' ').map_or(row.len(), |at| at + 1);
            let cut = if row[cut..].width() + width > columns { row.len() } else { cut };
            let word = row.split_off(cut);
            rows.push(std::mem::replace(&mut row, word));
            used = row.width();
        }
        row.push(c);
        used += width;
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_text_is_wrapped_at_words_and_indented() {
        let mut screen = Screen::new((24, 10));
        let first = screen.print("12:00 ", "the quick brown fox jumps");
        assert_eq!(screen.take_output(), "\r\x1b[2K12:00 the quick brown \n      fox jumps\n");
        let second = screen.print("", "next");
        assert_eq!((first.row, second.row), (0, 2));
    }

    #[test]
    fn a_mark_is_replaced_where_it_stands_and_only_while_it_is_visible() {
        let mut screen = Screen::new((40, 4));
        let place = screen.print("… ", "hi");
        screen.print("", "other");
        screen.take_output();
        screen.replace(place, 0, "✓");
        assert_eq!(screen.take_output(), "\r\x1b[2A\x1b[0C✓\x1b[2B\r");
        screen.print("", "other");
        screen.print("", "other");
        screen.take_output();
        screen.replace(place, 0, "✓");
        assert_eq!(screen.take_output(), "", "scrolled away");
        let place = screen.print("… ", "hi");
        screen.take_output();
        screen.resize((30, 4));
        screen.replace(place, 0, "✓");
        assert_eq!(screen.take_output(), "", "moved by the new size");
    }

    #[test]
    fn a_line_is_written_anew_where_it_stands_if_there_is_room() {
        let mut screen = Screen::new((24, 10));
        let place = screen.print("12:00 ", "the quick brown fox jumps");
        screen.take_output();
        assert!(screen.rewrite(place, "12:00 ", "gone"));
        assert_eq!(screen.take_output(), "\r\x1b[2A\x1b[2K12:00 gone\x1b[2B\r\r\x1b[1A\x1b[2K\x1b[1B\r");
        assert!(!screen.rewrite(place, "12:00 ", &"x".repeat(60)), "three rows");
        screen.resize((30, 10));
        assert!(!screen.rewrite(place, "12:00 ", "gone"));
        assert_eq!(screen.take_output(), "");
    }

    #[test]
    fn what_others_write_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\nc\td\u{202e}e\u{9b}"), "a\u{fffd}[2Jb⏎c d\u{fffd}e\u{fffd}");
    }

    #[test]
    fn the_bottom_row_is_one_row() {
        let mut screen = Screen::new((20, 4));
        screen.bottom("a very long status line> ", |columns| {
            assert_eq!(columns, 9, "ten for the status, one is never written to");
            ("typed".to_owned(), 5)
        });
        assert_eq!(screen.take_output(), "\r\x1b[2Ka very lontyped\r\x1b[15C");
    }

    proptest! {
        #[test]
        fn rows_fit_and_nothing_is_lost(text in "[a-z 你]{0,80}", columns in 2_usize..20) {
            let rows = wrap(&text, columns);
            prop_assert!(rows.iter().all(|row| row.width() <= columns));
            prop_assert_eq!(rows.concat(), text);
        }
    }
}
