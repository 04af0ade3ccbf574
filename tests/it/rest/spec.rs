//! The commands that the contract's pages name, where these stand beside the repository: each is in the OpenAPI document.

use std::collections::BTreeSet;

use crate::contract::spec;

/// Pages that name a command by its path.
const PAGES: [&str; 8] = [
    "account.md",
    "c2c.md",
    "callbacks.md",
    "console.md",
    "operations.md",
    "profile.md",
    "relation.md",
    "client-behaviour.md",
];

/// The row of the index of groups that names no command.
const WITHOUT_PATH: &str = "message extension set/get for group messages";

/// What is a name of a command wherever it stands: lower case, with or without numbers.
fn is_name(word: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !word.is_empty() && word.chars().all(good)
}

/// `service/command` of a path behind `v4/`; the command may be `*`, for what follows.
fn path(text: &str) -> Option<(&str, &str)> {
    let (_, path) = text.split_once("v4/")?;
    let (service, rest) = path.split_once('/')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '*').unwrap_or(rest.len());
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (service.chars().all(plain) && end > 0).then_some((service, &rest[..end]))
}

/// The commands of a page. A path `v4/service/*` says whose the names are that follow: in code or at the beginning of a heading, until
/// another path stands in a heading. Behind a whole path those of its cell or sentence are of the same service.
fn named(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut of = None;
    for line in page.lines() {
        let heading = line.starts_with('#');
        let text = line.trim_start_matches(['#', ' ']);
        if heading && path(text).is_some() {
            of = None;
        }
        if heading && let Some(service) = of {
            let first = text.split(' ').next().unwrap_or_default();
            if is_name(first) {
                found.insert(format!("{service}/{first}"));
            }
        }
        for cell in line.split('|') {
            let mut beside: Option<&str> = None;
            // What is in code has odd places; a heading may have its path without.
            for (at, part) in cell.split('`').enumerate() {
                match path(part) {
                    Some((service, "*")) => of = Some(service),
                    Some((service, command)) => {
                        found.insert(format!("{service}/{command}"));
                        beside = Some(service);
                    }
                    None if at % 2 == 1 && is_name(part) => {
                        if let Some(service) = beside.or(of) {
                            found.insert(format!("{service}/{part}"));
                        }
                    }
                    None => {}
                }
            }
        }
    }
    found
}

/// The commands of the index of groups, of which each row names one.
fn indexed(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // The sentence in front of the table is no row.
    for row in spec::items(page, "2").into_iter().filter(|row| !row.starts_with("Service ")) {
        let mut service = "group_open_http_svc";
        let before = found.len();
        for word in row.split([',', ' ', '(', ')']) {
            let command = match word.split_once('/') {
                Some((other, command)) if is_name(other) => {
                    service = other;
                    command
                }
                _ => word,
            };
            if command.contains('_') && is_name(command) {
                found.insert(format!("{service}/{command}"));
            }
        }
        assert!(found.len() > before || row == WITHOUT_PATH, "{row:?} names no command");
    }
    found
}

#[test]
fn each_command_of_the_contract_is_offered() {
    let pages: Option<Vec<String>> = PAGES.iter().map(|name| spec::page(name)).collect();
    let (Some(pages), Some(groups)) = (pages, spec::page("group-rest.md")) else { return };
    let mut named: BTreeSet<String> = pages.iter().flat_map(|page| named(page)).collect();
    named.extend(indexed(&groups));
    let document = serde_json::to_value(nearport_rest::document()).unwrap();
    let paths = document["paths"].as_object().unwrap().keys();
    let offered: BTreeSet<_> = paths.filter_map(|path| path.strip_prefix("/v4/")).collect();
    let missing: Vec<_> = named.iter().filter(|name| !offered.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "without a command: {missing:#?}");
    // What the pages do not name is of other documents, and few: a page of which nothing is read would show here.
    let beside: Vec<_> = offered.iter().filter(|name| !named.contains(**name)).copied().collect();
    assert_eq!(
        beside,
        [
            "follow/follow_add",
            "follow/follow_check",
            "follow/follow_delete",
            "follow/follow_get",
            "follow/follow_get_info",
            "nearport/app_settings_get",
            "nearport/app_settings_set",
            // The page names two of them and goes on with dots.
            "openim/im_add_tag",
            "openim/im_get_attr",
            "openim/im_get_attr_name",
            "openim/im_get_tag",
            "openim/im_remove_all_tags",
            "openim/im_remove_attr",
            "openim/im_remove_tag",
            "openim/im_set_attr"
        ]
    );
}
