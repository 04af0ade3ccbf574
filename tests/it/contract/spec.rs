//! The contract's pages, where they stand beside the repository: what they have rows for, tables here must have cases for.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// A page, if it is there.
pub(crate) fn page(name: &str) -> Option<String> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/spec").join(name);
    std::fs::read_to_string(beside).ok()
}

/// What one section says, item by item: the first cell of each row of its tables, each point of its lists, and its paragraphs.
pub(crate) fn items(page: &str, section: &str) -> Vec<String> {
    let heading = format!("## {section}.");
    let lines = page.lines().skip_while(|line| !line.starts_with(&heading)).skip(1);
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
    assert!(!lines.is_empty(), "no section {section}");
    let mut items = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_end();
        let goes_on = |line: &&&str| !line.is_empty() && !line.starts_with(['|', '-']);
        let more = lines[at + 1..].iter().take_while(goes_on).count();
        if line.starts_with('|') {
            let rule = lines.get(at + 1).is_some_and(|next| next.starts_with("|---"));
            if !rule && !line.starts_with("|---") {
                let cells: Vec<_> = line.split('|').map(plain).collect();
                // What is only numbered goes by its number and what stands beside it.
                let numbered = cells[1].starts_with(|c: char| c.is_ascii_digit()) || cells[1] == "later";
                items.push(if numbered { format!("{} {}", cells[1], cells[2]) } else { cells[1].clone() });
            }
            at += 1;
        } else if line.is_empty() {
            at += 1;
        } else {
            // A line in front of a table is no item.
            if more > 0 || line.contains('.') || line.starts_with("- ") {
                items.push(plain(line.trim_start_matches("- ")));
            }
            at += 1 + more;
        }
    }
    items
}

/// Without marks of emphasis, code and footnotes.
fn plain(text: &str) -> String {
    text.replace(['`', '*', '¹', '²', '³'], "").trim().to_owned()
}

/// Panics for each item that no case begins with, and each case that is of no item.
pub(crate) fn check(of: &str, items: &[String], cases: &BTreeSet<&str>) {
    let known = |item: &&String| cases.iter().any(|case| is_of(item, case));
    let missing: Vec<_> = items.iter().filter(|item| !known(item)).collect();
    let stale: Vec<_> = cases.iter().filter(|case| !items.iter().any(|item| is_of(item, case))).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{of}\nwithout a case: {missing:#?}\nof nothing: {stale:#?}"
    );
}

/// A case names an item by the whole of it or by its first words.
fn is_of(item: &str, case: &str) -> bool {
    let rest = item.strip_prefix(case);
    rest.is_some_and(|rest| rest.is_empty() || (case.len() > 4 && !rest.starts_with(char::is_alphanumeric)))
}
