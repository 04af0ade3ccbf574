//! Words of `chat`: what stands in a row for tips, notices, files and what is on its way. No terminal, no network.

use nearport_client::media::{Attachment, MediaKind};
use nearport_client::{Message, Notice, Tip};

/// Columns of a bar.
const BAR: u64 = 20;

/// What happened in a group, in words.
pub(crate) fn tip_text(tip: &Tip) -> String {
    let (who, whom) = (&tip.operator, tip.members.join(", "));
    match tip.r#type {
        1 => format!("{whom} joined"),
        2 => format!("{who} brought {whom}"),
        3 => format!("{who} left"),
        4 => format!("{who} removed {whom}"),
        5 => format!("{who} made {whom} administrator"),
        6 => format!("{who} made {whom} a plain member"),
        7 => {
            let changes =
                tip.changes.iter().map(|change| format!("{} is now {}", change.field, change.value));
            format!("{who} changed the group: {}", changes.collect::<Vec<_>>().join(", "))
        }
        8 => format!("{who} changed how long {whom} may not speak"),
        _ => "something happened in the group".to_owned(),
    }
}

/// A system notice, in words.
pub(crate) fn notice_text(notice: &Notice) -> String {
    let (group, who) = (&notice.group, &notice.operator);
    match notice.r#type {
        1 => format!("{who} wants to join {group}: {}", notice.text),
        2 => format!("you are a member of {group} now"),
        3 => format!("{group} does not take you: {}", notice.text),
        4 => format!("{who} removed you from {group}"),
        5 => format!("{group} is no more"),
        7 => format!("{who} brought you into {group} (/group {group})"),
        9 => format!("you are administrator of {group}"),
        10 => format!("you are a plain member of {group}"),
        12 => format!("{who} invites you to {group}"),
        _ => format!("news of {group}: {}", notice.text),
    }
}

/// What stands in a row for a message: its text, and its files with how to get them.
pub(crate) fn shown_text(message: &Message) -> String {
    let text = message.text();
    if let Some(recalled) = &message.recalled {
        let by = if recalled.by.is_empty() { "an administrator" } else { &recalled.by };
        return format!("[taken back by {by}]");
    }
    if let Some(tip) = message.tip() {
        return format!("[{}]", tip_text(tip));
    }
    let mut parts: Vec<String> = Vec::new();
    if !text.is_empty() {
        parts.push(text);
    }
    let get = if message.seq > 0 { format!(": /get {}", message.seq) } else { String::new() };
    parts.extend(message.attachments().iter().map(|what| format!("[{}{get}]", attachment_text(what))));
    if parts.is_empty() {
        return format!("[{} element(s) without text]", message.content.elements.len());
    }
    if message.changed.is_some() {
        parts.push("(edited)".to_owned());
    }
    parts.join(" ")
}

/// A file in a few words.
pub(crate) fn attachment_text(what: &Attachment) -> String {
    let seconds = |second| if second > 0 { format!(", {second} s") } else { String::new() };
    let (kind, more) = match what.kind {
        MediaKind::Image if what.width > 0 => ("image", format!(", {} × {}", what.width, what.height)),
        MediaKind::Image => ("image", String::new()),
        MediaKind::Sound => ("sound", seconds(what.second)),
        MediaKind::Video => ("video", seconds(what.second)),
        MediaKind::File | MediaKind::Unspecified => ("file", format!(" {}", what.file_name())),
    };
    let size = if what.size > 0 { format!(", {}", bytes(what.size)) } else { String::new() };
    format!("{kind}{more}{size}")
}

/// Octets as people read them.
pub(crate) fn bytes(octets: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, bits)| octets >> bits > 0) {
        // Tenths, rounded down: what is not there yet is not shown.
        Some((unit, bits)) => {
            let tenths = (u128::from(octets) * 10) >> bits;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{octets} bytes"),
    }
}

/// How far something is: `[█████░░░░░░░░░░░░░░░]  25 % of 1.2 MiB`.
pub(crate) fn bar(at: u64, of: u64) -> String {
    let part = |whole: u64| {
        let part = u128::from(at.min(of)) * u128::from(whole) / u128::from(of.max(1));
        u64::try_from(part).unwrap_or(whole)
    };
    let full: String = (0..BAR).map(|column| if column < part(BAR) { '█' } else { '░' }).collect();
    format!("[{full}] {:3} % of {}", part(100), bytes(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    #[test]
    fn sizes_and_bars_read_well() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1 << 10), "1.0 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1023.9 KiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bar(0, 0), "[░░░░░░░░░░░░░░░░░░░░]   0 % of 0 bytes");
        assert_eq!(bar(256, 1024), "[█████░░░░░░░░░░░░░░░]  25 % of 1.0 KiB");
        assert_eq!(bar(1024, 1024), "[████████████████████] 100 % of 1.0 KiB");
    }

    proptest! {
        #[test]
        fn a_bar_is_full_only_at_the_end(at in any::<u64>(), of in any::<u64>()) {
            let bar = bar(at, of);
            prop_assert!(bar.width() <= 60, "{bar}");
            prop_assert_eq!(bar.contains("100 %"), of > 0 && at >= of, "{}", bar);
            prop_assert_eq!(bar.contains('░'), of == 0 || at < of);
        }
    }
}
