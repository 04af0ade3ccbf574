//! House rules that the compiler cannot see.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Which crate may depend on which: DESIGN §3. `sim` runs production code and is used by tests only.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let arrows: &[(&str, &[&str])] = &[
        ("wire", &[]),
        ("session", &["wire"]),
        ("trunk", &["wire"]),
        ("edge", &["session", "trunk", "wire"]),
        ("callback", &["chat", "dial", "wire"]),
        ("chat", &["trunk", "wire"]),
        ("store", &["chat"]),
        ("api", &["chat"]),
        ("client", &["geo", "session", "wire"]),
        ("geo", &[]),
        ("dial", &[]),
        ("impair", &[]),
        ("lab", &["impair"]),
        ("load", &["client", "impair", "session", "wire"]),
        ("locate", &["geo"]),
        ("media", &["dial"]),
        ("rest", &["chat", "wire"]),
        ("steer", &["geo", "trunk", "wire"]),
        ("sim", &["chat", "client", "edge", "impair", "session", "store", "trunk", "wire"]),
    ];
    arrows.iter().map(|(name, on)| (*name, on.iter().copied().collect())).collect()
}

/// Names of the workspace crates in one table of a manifest.
fn arrows(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    let dependencies = manifest.get(table).and_then(toml::Value::as_table);
    let names = dependencies.into_iter().flat_map(toml::Table::keys);
    names.filter_map(|name| name.strip_prefix("nearport-").map(str::to_owned)).collect()
}

#[test]
fn no_crate_depends_on_one_that_it_must_not_know() {
    let allowed = allowed();
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path().join("Cargo.toml");
        if !path.exists() {
            continue;
        }
        let name = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let manifest: toml::Table = read(&path).parse().unwrap();
        let may = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("crate {name} is not in the table of arrows"));
        for on in arrows(&manifest, "dependencies") {
            assert!(may.contains(on.as_str()), "{name} must not depend on {on}: see ARCHITECTURE.md, arrows");
        }
        assert!(!arrows(&manifest, "dependencies").contains("sim"), "{name}: sim is for tests");
    }
}

#[test]
fn pure_crates_know_no_runtime_no_socket_and_no_clock() {
    const FORBIDDEN: [&str; 8] = [
        "tokio",
        "std::net::Udp",
        "std::net::Tcp",
        "std::fs",
        "Instant::now",
        "SystemTime",
        "std::thread",
        "println!",
    ];
    for name in ["wire", "session", "impair", "geo"] {
        for file in rust_files(&root().join("src").join(name).join("src")) {
            let text = read(&file);
            // Tests need an origin of time.
            if file.to_str().unwrap().contains("tests") {
                continue;
            }
            for word in FORBIDDEN {
                assert!(!code(&text).contains(word), "{} uses {word}", file.display());
            }
        }
    }
    for file in rust_files(&root().join("src/client/src")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let pure = ["answer", "book", "chain", "contest", "core", "race", "memory", "silence", "loss"]
            .contains(&name)
            || file.to_str().unwrap().contains("/core/");
        if pure && !file.to_str().unwrap().contains("tests") {
            // Tests at the end of a file need an origin of time.
            let text = read(&file);
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in FORBIDDEN.into_iter().chain(["quinn", "rustls"]) {
                assert!(!code(text).contains(word), "{} uses {word}", file.display());
            }
        }
    }
    for file in rust_files(&root().join("src/edge/src")) {
        let pure = file.ends_with("shard.rs") || file.to_str().unwrap().contains("/shard/");
        if pure && !file.ends_with("tests.rs") {
            for word in ["Instant::now", "UdpSocket", "tokio"] {
                assert!(
                    !code(&read(&file)).contains(word),
                    "{} uses {word}: a shard runs in the simulator",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_edge_never_names_a_backend_or_a_store() {
    for file in rust_files(&root().join("src/edge/src")) {
        for word in ["nearport_chat", "nearport_store", "nearport_api"] {
            assert!(!read(&file).contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn every_crate_is_in_the_architecture_and_takes_the_workspace_lints() {
    let architecture = read(&root().join("ARCHITECTURE.md"));
    for name in allowed().keys() {
        assert!(
            architecture.contains(&format!("`src/{name}`")),
            "ARCHITECTURE.md does not mention src/{name}"
        );
        let manifest: toml::Table = read(&root().join("src").join(name).join("Cargo.toml")).parse().unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name}");
    }
}

#[test]
fn no_queue_is_unbounded_and_nothing_is_left_undone() {
    // Spelled in two parts, so that this file does not find itself.
    let words = [["unbounded", "_channel("], ["todo", "!("], ["unimplemented", "!("], ["FIX", "ME"]];
    for file in rust_files(root()) {
        let text = read(&file);
        for [front, back] in words {
            assert!(!text.contains(&format!("{front}{back}")), "{}: {front}{back}", file.display());
        }
    }
}

#[test]
fn every_metric_is_described_and_named_by_its_kind() {
    let mut used = BTreeSet::new();
    let mut described = BTreeSet::new();
    for file in rust_files(&root().join("src")) {
        let text = read(&file);
        for kind in ["counter", "gauge", "histogram"] {
            for (at, call) in text.match_indices(&format!("{kind}!(")) {
                let name = text[at + call.len()..].trim_start().strip_prefix("\"nearport_");
                let Some((name, _)) = name.and_then(|rest| rest.split_once('"')) else { continue };
                let known = if text[..at].ends_with("describe_") { &mut described } else { &mut used };
                known.insert((kind, name.to_owned()));
            }
        }
    }
    assert!(used.len() > 80, "not found: {}", used.len());
    let without: Vec<_> = used.difference(&described).collect();
    assert!(without.is_empty(), "without HELP, or described as of another kind: {without:?}");
    for (kind, name) in &used {
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{kind} nearport_{name}");
    }
}

/// A text without its line comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name == "target" || name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}
