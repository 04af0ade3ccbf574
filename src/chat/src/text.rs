//! What texts may hold that people write and other people see: names, introductions, remarks.

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadText {
    /// More bytes than allowed.
    #[error("has more than {0} bytes")]
    TooLong(usize),
    /// A control character, or one that turns the order of what stands around it: it would make a screen show something else than
    /// what was written.
    #[error("holds a control character or one that changes the direction of text")]
    Control,
    /// Nothing in it can be seen.
    #[error("has nothing that can be seen")]
    Invisible,
}

/// Characters that change the direction of text in ways that reach beyond themselves: embeddings, overrides, isolates.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that take no place: joiners, marks, fillers, tags.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A text of some lines, which may be empty.
pub(crate) fn check_text(text: &str, bytes_max: usize) -> Result<(), BadText> {
    if text.len() > bytes_max {
        return Err(BadText::TooLong(bytes_max));
    }
    let bad = |c: char| (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || turns(c);
    if text.chars().any(bad) { Err(BadText::Control) } else { Ok(()) }
}

/// A text of one line, which may be empty.
pub(crate) fn check_line(text: &str, bytes_max: usize) -> Result<(), BadText> {
    check_text(text, bytes_max)?;
    if text.chars().any(char::is_control) { Err(BadText::Control) } else { Ok(()) }
}

/// A name: one line in any script, with something to see in it.
pub(crate) fn check_label(text: &str, bytes_max: usize) -> Result<(), BadText> {
    check_line(text, bytes_max)?;
    if text.chars().all(is_invisible) { Err(BadText::Invisible) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script_and_nothing_that_deceives() {
        for good in
            ["a", "Ärzte", "家族グループ", "مجموعة", "👨\u{200d}👩\u{200d}👧", "न\u{94d}\u{200d}", "עברית 1"]
        {
            assert_eq!(check_label(good, 30), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", BadText::Invisible),
            (" \t".trim_end_matches('\t'), BadText::Invisible),
            ("\u{200b}\u{200d}", BadText::Invisible),
            ("\u{feff}", BadText::Invisible),
            ("\u{3164}", BadText::Invisible),
            ("a\nb", BadText::Control),
            ("a\0", BadText::Control),
            ("gnp.\u{202e}exe", BadText::Control),
            ("\u{2066}a", BadText::Control),
            ("四四四四四四四四四四四", BadText::TooLong(30)),
        ] {
            assert_eq!(check_label(bad, 30), Err(why), "{bad:?}");
        }
        assert_eq!(check_text("", 10), Ok(()));
        assert_eq!(check_text("a\nb\t", 10), Ok(()));
        assert_eq!(check_line("a\nb", 10), Err(BadText::Control));
    }
}
