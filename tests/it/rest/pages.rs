//! The OpenAPI document, the page that shows it, and a fuzzer that goes by it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::start;
use crate::node::{nearport, output_within};
use crate::python::python;

#[test]
fn the_document_is_one_and_its_page_needs_nothing_from_elsewhere() {
    let (dir, _node, back_end) = start(&[]);
    let (status, served) = back_end.get("/openapi.json");
    let document: Value = serde_json::from_str(&served).unwrap();
    assert_eq!((status, &document["openapi"]), (200, &"3.1.0".into()));
    assert!(document["paths"]["/v4/im_open_login_svc/account_import"]["post"].is_object());
    let printed = nearport(dir.path(), &["openapi"]);
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), document);
    let (status, page) = back_end.get("/docs/");
    assert_eq!(status, 200);
    for part in page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert!(!part.starts_with("http") && !part.starts_with("//"), "{part} comes from elsewhere");
        let (status, _) = back_end.get(&format!("/docs/{}", part.trim_start_matches("./")));
        assert_eq!(status, 200, "{part}");
    }
}

#[test]
fn what_is_switched_off_is_not_there_and_who_is_not_allowed_hears_it() {
    let (_dir, _node, back_end) =
        start(&["--set", "rest.docs=false", "--set", "rest.allow=[\"10.0.0.0/8\"]"]);
    assert_eq!(back_end.get("/openapi.json").0, 404);
    let answer = back_end.call("im_open_login_svc/account_check", &serde_json::json!({ "CheckItem": [] }));
    assert_eq!(answer["ErrorCode"], 60021);
    let (_dir, _node, back_end) = start(&["--set", "rest.enabled=false"]);
    assert_eq!(back_end.post("/v4/im_open_login_svc/kick", "", b"{}").0, 404);
}

/// How long the fuzzer goes on.
const FUZZED_S: u32 = 10;

#[test]
fn a_fuzzer_with_the_document_finds_no_fault() {
    let (dir, _node, back_end) = start(&["--set", "rest.command_rates=false"]);
    let python = python("schemathesis", &["schemathesis==4.32.5"]);
    let document = dir.path().join("openapi.json");
    std::fs::write(&document, back_end.get("/openapi.json").1).unwrap();
    for user in ["administrator", "alice"] {
        let (app, usersig) = (back_end.app, back_end.usersig(user));
        let config = format!(
            "[parameters]\n\"query.sdkappid\" = {app}\n\"query.identifier\" = \"{user}\"\n\"query.usersig\" = \"{usersig}\"\n"
        );
        std::fs::write(dir.path().join("schemathesis.toml"), config).unwrap();
        let mut command = Command::new(&python);
        command.current_dir(dir.path()).args(["-m", "schemathesis.cli", "run"]).arg(&document);
        command.args(["--url", &back_end.url(), "--max-time", &FUZZED_S.to_string()]);
        command.args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ]);
        command.args(["--suppress-health-check", "all", "--warnings", "off", "--seed", "1", "--no-color"]);
        let output = output_within(&mut command, Duration::from_secs(300));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{user}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
}
