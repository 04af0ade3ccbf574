//! Where a setting of an App comes from, and who may set it.

use serde_json::json;

use super::Stage;

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn what_is_set_live_comes_before_the_file_of_the_app_and_that_before_the_file_of_all() {
    let entry = r#"apps=[{ app = 1400000000, recall_window = "7s", people.friend_check = true }]"#;
    let stage =
        Stage::start(&["--set", "chat.recall_window=9s", "--set", "chat.edit_window=8s", "--set", entry]);
    assert_eq!(stage.app, "1400000000");
    assert_eq!(stage.shown("roaming_days"), pair("7", "process"));
    assert_eq!(stage.shown("edit_window"), pair("8s", "process"));
    assert_eq!(stage.shown("recall_window"), pair("7s", "file"));
    assert_eq!(stage.shown("people.friend_check"), pair("true", "file"));
    stage.set("recall_window", "120s");
    assert_eq!(stage.shown("recall_window"), pair("2m", "live"));
    stage.unset("recall_window");
    assert_eq!(stage.shown("recall_window"), pair("7s", "file"));

    // Another App has none of it.
    stage.app(&["create", "--id", "1500000000"]);
    let other = stage.app(&["settings", "1500000000"]);
    assert!(other.contains(r#"{"name":"recall_window","origin":"process","value":"2m"}"#), "{other}");
    // Without an App: what there is to set.
    assert!(stage.app(&["settings"]).lines().count() > 30);

    // Over the API, at once; what is not named stays.
    let answer = stage.set_by_api(&[("recall_window", "3s"), ("edit_window", "4s")], &[]);
    assert_eq!(answer["ErrorCode"], 0, "{answer}");
    assert_eq!(stage.shown("recall_window"), pair("3s", "live"));
    let answer = stage.set_by_api(&[("edit_window", "5s")], &["recall_window"]);
    assert_eq!(answer["ErrorCode"], 0, "{answer}");
    assert_eq!(stage.shown("recall_window"), pair("7s", "file"));
    assert_eq!(stage.shown("edit_window"), pair("5s", "live"));
    let show: serde_json::Value = serde_json::from_str(&stage.app(&["show", &stage.app])).unwrap();
    assert_eq!(show["settings"], json!({ "edit_window": "5s" }));
    // It outlives the process.
    let Stage { dir, node, .. } = stage;
    node.kill();
    let node = crate::node::Node::start(dir.path(), &[]);
    let back_end = crate::rest::BackEnd::of(dir.path());
    let app = back_end.app.to_string();
    let stage = Stage { dir, node, back_end, app };
    assert_eq!(stage.shown("edit_window"), pair("5s", "live"));
}

#[test]
fn what_is_wrong_is_refused_whole_and_limits_are_the_operators() {
    let stage = Stage::start(&[]);
    for (settings, unset, code, told) in [
        (&[("recall_window", "3s"), ("nothing", "1")][..], &[][..], 60003, "nothing: no such setting"),
        (&[("recall_window", "3s"), ("edit_window", "soon")], &[], 60003, "edit_window: takes a time"),
        (&[("recall_window", "3s")], &["recall_window"], 60003, "recall_window: it stands twice"),
        (&[("recall_window", "3s"), ("rest.command_rates", "false")], &[], 60010, "only the operator"),
        (&[], &["people.friends_max"], 60010, "only the operator"),
        (&[], &[], 60003, "name 1 to"),
    ] {
        let answer = stage.set_by_api(settings, unset);
        assert_eq!(answer["ErrorCode"], code, "{answer}");
        assert!(answer["ErrorInfo"].as_str().unwrap().contains(told), "{answer}");
    }
    assert_eq!(stage.shown("recall_window"), pair("2m", "process"), "nothing was changed");
    // The operator is told the same at the command line, and may set limits.
    for (name, value, told) in
        [("nothing", "1", "no such setting"), ("user_sessions_max", "65", "a whole number from 1 to 64")]
    {
        let output = stage.try_app(&["set", &stage.app, name, value]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{output:?}");
    }
    let output = stage.try_app(&["set", "9", "recall_window", "3s"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("app 9 does not exist"), "{output:?}");
    stage.set("people.friends_max", "5");
    assert_eq!(stage.shown("people.friends_max"), pair("5", "live"));

    // Each change is in the log, with what was before.
    stage.set("people.friends_max", "6");
    let answer = stage.set_by_api(&[("recall_window", "3s")], &[]);
    assert_eq!(answer["ErrorCode"], 0, "{answer}");
    let sets: Vec<_> = stage.exported(&[]).into_iter().filter(|record| record["act"] == "app set").collect();
    let details: Vec<_> = sets.iter().map(|record| record["detail"].clone()).collect();
    assert_eq!(
        details,
        [
            json!({ "setting": "people.friends_max", "new": "5" }),
            json!({ "setting": "people.friends_max", "old": "5", "new": "6" }),
            json!({ "setting": "recall_window", "new": "3s" }),
        ]
    );
    assert_eq!((&sets[1]["from"], &sets[2]["from"]), (&json!("command line"), &json!("127.0.0.1")));
    assert_eq!(sets[2]["who"], "administrator");
    // Mistakes in a file keep the program from starting, with the key.
    let dir = tempfile::tempdir().unwrap();
    let entry = "apps=[{ app = 7, user_sessions_max = 0 }]";
    let output = crate::node::output(&mut crate::node::serve(dir.path(), &["--set", entry]));
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("app 7: user_sessions_max: takes"),
        "{output:?}"
    );
}
