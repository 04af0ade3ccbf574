//! Bytes of a terminal to keys: UTF-8 and the few escape sequences that every terminal since the VT220 sends.

/// A key, as far as a line of text has a use for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    Home,
    End,
    Up,
    Down,
    /// Control and a lower case letter.
    Ctrl(char),
}

/// Longest escape sequence that is waited for; a longer one is dropped.
const SEQUENCE_MAX: usize = 16;

/// Turns chunks into keys; a sequence may be cut anywhere. Unknown sequences and broken UTF-8 give nothing.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    waiting: Vec<u8>,
}

impl Keys {
    /// Takes one byte; gives the key that it completes.
    pub(crate) fn feed(&mut self, byte: u8) -> Option<Key> {
        match self.waiting.first() {
            Some(0x1b) => self.escape(byte),
            Some(_) => self.utf8(byte),
            None => self.first(byte),
        }
    }

    fn first(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'\r' | b'\n' => Some(Key::Enter),
            0x7f | 0x08 => Some(Key::Backspace),
            0x01..=0x1a => Some(Key::Ctrl(char::from(byte + b'a' - 1))),
            0x20..=0x7e => Some(Key::Char(char::from(byte))),
            0x1b | 0xc2..=0xf4 => {
                self.waiting.push(byte);
                None
            }
            _ => None,
        }
    }

    fn utf8(&mut self, byte: u8) -> Option<Key> {
        if byte & 0xc0 != 0x80 {
            self.waiting.clear();
            return self.first(byte);
        }
        self.waiting.push(byte);
        let complete = match self.waiting[0] {
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        if self.waiting.len() < complete {
            return None;
        }
        let bytes = std::mem::take(&mut self.waiting);
        let character = std::str::from_utf8(&bytes).ok()?.chars().next()?;
        (!character.is_control()).then_some(Key::Char(character))
    }

    fn escape(&mut self, byte: u8) -> Option<Key> {
        let introduced = self.waiting.len() > 1;
        match byte {
            0x1b => {
                self.waiting.truncate(1);
                return None;
            }
            b'[' | b'O' if !introduced => {
                self.waiting.push(byte);
                return None;
            }
            // Alt and a letter: the letter alone.
            _ if !introduced => {
                self.waiting.clear();
                return self.first(byte);
            }
            // Parameters; anything from `@` on ends the sequence (ECMA-48, 5.4).
            0x20..=0x3f if self.waiting.len() < SEQUENCE_MAX => {
                self.waiting.push(byte);
                return None;
            }
            _ => {}
        }
        let sequence = std::mem::take(&mut self.waiting);
        match (byte, sequence.get(2)) {
            (b'A', _) => Some(Key::Up),
            (b'B', _) => Some(Key::Down),
            (b'C', _) => Some(Key::Right),
            (b'D', _) => Some(Key::Left),
            (b'H', _) | (b'~', Some(b'1' | b'7')) => Some(Key::Home),
            (b'F', _) | (b'~', Some(b'4' | b'8')) => Some(Key::End),
            (b'~', Some(b'3')) => Some(Key::Delete),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().filter_map(|byte| keys.feed(*byte)).collect()
    }

    #[test]
    fn text_controls_and_sequences() {
        use Key::*;
        assert_eq!(keys("aé€😀".as_bytes()), [Char('a'), Char('é'), Char('€'), Char('😀')]);
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[C\x1b[1;5D"), [Up, Down, Right, Left]);
        assert_eq!(keys(b"\x1b[H\x1b[4~\x1b[3~\x1b[1~"), [Home, End, Delete, Home]);
        assert_eq!(
            keys(b"\x7f\r\x03\x1bx\x1b\x1b[Ay"),
            [Backspace, Enter, Ctrl('c'), Char('x'), Up, Char('y')]
        );
        assert_eq!(
            keys(b"\x1b[99zq\x1b[200~r"),
            [Char('q'), Char('r')],
            "unknown sequences leave nothing behind"
        );
        assert_eq!(
            keys(b"\xe2\x82A\xffB\xc2\x85C"),
            [Char('A'), Char('B'), Char('C')],
            "broken or control: dropped"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_none_are_hoarded(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut keys = Keys::default();
            for byte in bytes {
                if let Some(Key::Char(c)) = keys.feed(byte) {
                    prop_assert!(!c.is_control());
                }
                prop_assert!(keys.waiting.len() <= SEQUENCE_MAX);
            }
        }
    }
}
