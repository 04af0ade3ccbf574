//! The line that is being typed: an editor without a terminal.

use std::collections::VecDeque;

use nearport_wire::CONTENT_BYTES_MAX;
use unicode_width::UnicodeWidthChar as _;

use crate::chat_keys::Key;

/// Earlier lines that the up key brings back.
const HISTORY_MAX: usize = 100;

/// What a key led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// The line looks different, or not.
    Changed,
    /// The line is finished; the editor is empty again.
    Line(String),
    /// The person wants to leave.
    Quit,
}

/// A line with a cursor, and those before it.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    text: Vec<char>,
    cursor: usize,
    history: VecDeque<Vec<char>>,
    /// Which line of the history is shown, and what was typed before.
    recalled: Option<(usize, Vec<char>)>,
}

impl Editor {
    /// Takes a key.
    pub(crate) fn key(&mut self, key: Key) -> Edit {
        match key {
            Key::Enter => return self.finish(),
            Key::Ctrl('d') if self.text.is_empty() => return Edit::Quit,
            Key::Ctrl('c') if self.text.is_empty() => return Edit::Quit,
            Key::Ctrl('c') => self.set(Vec::new()),
            Key::Char(c) => self.insert(c),
            Key::Backspace | Key::Ctrl('h') if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            Key::Delete | Key::Ctrl('d') if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            Key::Left | Key::Ctrl('b') => self.cursor = self.cursor.saturating_sub(1),
            Key::Right | Key::Ctrl('f') => self.cursor = (self.cursor + 1).min(self.text.len()),
            Key::Home | Key::Ctrl('a') => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = self.text.len(),
            Key::Ctrl('u') => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::Ctrl('k') => self.text.truncate(self.cursor),
            Key::Ctrl('w') => {
                let start = self.word_start();
                self.text.drain(start..self.cursor);
                self.cursor = start;
            }
            Key::Up | Key::Ctrl('p') => self.recall_older(),
            Key::Down | Key::Ctrl('n') => self.recall_newer(),
            _ => {}
        }
        Edit::Changed
    }

    /// Ends the line in front of the cursor as one of `words` does, or as far as all that fit go on alike. Returns those that fit, if
    /// there are several and nothing was added. What ends with a slash is not the end of a path.
    pub(crate) fn complete(&mut self, words: &[&str]) -> Vec<String> {
        let typed = self.before_cursor();
        let fit: Vec<&str> = words.iter().copied().filter(|word| word.starts_with(&typed)).collect();
        let Some(first) = fit.first().filter(|_| !typed.is_empty()) else { return Vec::new() };
        let alike = fit.iter().fold(first.len(), |alike, word| {
            first.bytes().zip(word.bytes()).take(alike).take_while(|(a, b)| a == b).count()
        });
        // Alike by octets, which may end inside a character.
        let alike = (0..=alike).rev().find(|at| first.is_char_boundary(*at)).unwrap_or(typed.len());
        let mut rest: Vec<char> = first[typed.len()..alike.max(typed.len())].chars().collect();
        if fit.len() == 1 && self.cursor == self.text.len() && !first.ends_with('/') {
            rest.push(' ');
        }
        let many = fit.len() > 1 && rest.is_empty();
        rest.into_iter().for_each(|c| self.insert(c));
        if many { fit.into_iter().map(str::to_owned).collect() } else { Vec::new() }
    }

    /// What stands in front of the cursor.
    pub(crate) fn before_cursor(&self) -> String {
        self.text[..self.cursor].iter().collect()
    }

    /// The part of the line that fits `columns`, and the cursor's column in it.
    pub(crate) fn view(&self, columns: usize) -> (String, usize) {
        let width = |c: &char| c.width().unwrap_or(0);
        // From the cursor back, as much as fits with one column left for the cursor itself.
        let mut before = 0;
        let mut start = self.cursor;
        while start > 0 && before + width(&self.text[start - 1]) < columns {
            start -= 1;
            before += width(&self.text[start]);
        }
        let mut used = before;
        let after = self.text[self.cursor..].iter().take_while(|c| {
            used += width(c);
            used <= columns
        });
        (self.text[start..self.cursor].iter().chain(after).collect(), before)
    }

    fn insert(&mut self, c: char) {
        // A message has a limit, so has its line: what would be refused is not taken.
        let bytes: usize = self.text.iter().map(|c| c.len_utf8()).sum();
        if bytes + c.len_utf8() <= CONTENT_BYTES_MAX {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    fn finish(&mut self) -> Edit {
        let line = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        if !line.is_empty() && self.history.back() != Some(&line) {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        Edit::Line(line.into_iter().collect())
    }

    fn word_start(&self) -> usize {
        let before = &self.text[..self.cursor];
        let end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |at| at + 1);
        before[..end].iter().rposition(|c| c.is_whitespace()).map_or(0, |at| at + 1)
    }

    fn recall_older(&mut self) {
        let (at, typed) = match self.recalled.take() {
            Some((at, typed)) => (at.saturating_sub(1), typed),
            None if self.history.is_empty() => return,
            None => (self.history.len() - 1, self.text.clone()),
        };
        self.set(self.history[at].clone());
        self.recalled = Some((at, typed));
    }

    fn recall_newer(&mut self) {
        match self.recalled.take() {
            Some((at, typed)) if at + 1 < self.history.len() => {
                self.set(self.history[at + 1].clone());
                self.recalled = Some((at + 1, typed));
            }
            Some((_, typed)) => self.set(typed),
            None => {}
        }
    }

    fn set(&mut self, text: Vec<char>) {
        self.cursor = text.len();
        self.text = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(editor: &mut Editor, text: &str) {
        text.chars().for_each(|c| assert_eq!(editor.key(Key::Char(c)), Edit::Changed));
    }

    fn line(editor: &mut Editor) -> String {
        match editor.key(Key::Enter) {
            Edit::Line(line) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_edited_in_the_middle() {
        let mut editor = Editor::default();
        typed(&mut editor, "hello wrld");
        for _ in 0..3 {
            editor.key(Key::Left);
        }
        typed(&mut editor, "o");
        editor.key(Key::Home);
        editor.key(Key::Delete);
        typed(&mut editor, "H");
        assert_eq!(line(&mut editor), "Hello world");
        typed(&mut editor, "one two  ");
        editor.key(Key::Ctrl('w'));
        typed(&mut editor, "2");
        editor.key(Key::Backspace);
        assert_eq!(line(&mut editor), "one ");
        typed(&mut editor, "abc");
        editor.key(Key::Left);
        editor.key(Key::Ctrl('u'));
        editor.key(Key::End);
        editor.key(Key::Ctrl('k'));
        assert_eq!(line(&mut editor), "c");
    }

    #[test]
    fn earlier_lines_come_back_and_so_does_the_unfinished_one() {
        let mut editor = Editor::default();
        for text in ["one", "two", "two"] {
            typed(&mut editor, text);
            line(&mut editor);
        }
        typed(&mut editor, "thr");
        editor.key(Key::Up);
        editor.key(Key::Up);
        editor.key(Key::Up);
        assert_eq!(editor.view(80).0, "one");
        editor.key(Key::Down);
        editor.key(Key::Down);
        assert_eq!(editor.view(80), ("thr".to_owned(), 3));
        editor.key(Key::Down);
        assert_eq!(line(&mut editor), "thr");
    }

    #[test]
    fn control_c_clears_first_and_leaves_then() {
        let mut editor = Editor::default();
        typed(&mut editor, "x");
        assert_eq!(editor.key(Key::Ctrl('c')), Edit::Changed);
        assert_eq!(editor.key(Key::Ctrl('c')), Edit::Quit);
        typed(&mut editor, "x");
        assert_eq!(editor.key(Key::Ctrl('d')), Edit::Changed);
        editor.key(Key::Backspace);
        assert_eq!(editor.key(Key::Ctrl('d')), Edit::Quit);
    }

    #[test]
    fn a_word_is_completed_as_far_as_it_is_certain() {
        let words = ["/history", "/help", "/members", "/me"];
        let mut editor = Editor::default();
        typed(&mut editor, "/h");
        assert_eq!(editor.complete(&words), ["/history", "/help"]);
        typed(&mut editor, "i");
        assert!(editor.complete(&words).is_empty());
        assert_eq!(line(&mut editor), "/history ");
        typed(&mut editor, "/m");
        assert!(editor.complete(&words).is_empty());
        assert_eq!(editor.complete(&words), ["/members", "/me"]);
        assert_eq!(line(&mut editor), "/me");
        assert!(editor.complete(&words).is_empty(), "nothing is typed");
        typed(&mut editor, "hello");
        assert!(editor.complete(&words).is_empty());
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let mut editor = Editor::default();
        typed(&mut editor, "你好ab");
        assert_eq!(editor.view(80), ("你好ab".to_owned(), 6));
        assert_eq!(editor.view(4), ("ab".to_owned(), 2), "half a character is not shown");
        editor.key(Key::Home);
        assert_eq!(editor.view(5), ("你好a".to_owned(), 0));
    }

    proptest! {
        #[test]
        fn the_view_fits_and_holds_the_cursor(
            keys in proptest::collection::vec(prop_oneof![
                any::<char>().prop_map(Key::Char),
                prop_oneof![Just(Key::Left), Just(Key::Backspace), Just(Key::Home), Just(Key::Up), Just(Key::Enter)],
            ], 0..60),
            columns in 3_usize..30,
        ) {
            let mut editor = Editor::default();
            for key in keys {
                editor.key(key);
            }
            let (shown, cursor) = editor.view(columns);
            let width: usize = shown.chars().map(|c| c.width().unwrap_or(0)).sum();
            prop_assert!(width <= columns && cursor < columns, "{width} {cursor} {columns}");
        }
    }
}
