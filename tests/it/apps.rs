//! Apps against the real program: their keys, what each has other than the others, and the log of who did what.

mod audit;
mod keys;
mod settings;
mod table;

use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::Node;
use crate::rest::{BackEnd, start};

/// A node with the back end of its first App.
struct Stage {
    dir: TempDir,
    node: Node,
    back_end: BackEnd,
    app: String,
}

impl Stage {
    fn start(args: &[&str]) -> Self {
        let (dir, node, back_end) = start(args);
        let app = back_end.app.to_string();
        Self { dir, node, back_end, app }
    }

    /// `nearport app …`, which must succeed; what it prints.
    fn app(&self, args: &[&str]) -> String {
        let output = self.try_app(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_app(&self, args: &[&str]) -> Output {
        self.node.nearport(&[&["app"], args].concat())
    }

    /// Sets a setting as the operator does, and has the node hear of it now.
    fn set(&self, name: &str, value: &str) {
        self.app(&["set", &self.app, name, value]);
        self.hear();
    }

    fn unset(&self, name: &str) {
        self.app(&["unset", &self.app, name]);
        self.hear();
    }

    /// Whoever asks for settings has them read.
    fn hear(&self) -> Value {
        let query = self.back_end.query();
        let mut answer = self.back_end.ask("nearport/app_settings_get", &query, "{}");
        // Where the test has called as often as the App may.
        while answer["ErrorCode"] == 60011 || answer["ErrorCode"] == 60007 {
            std::thread::yield_now();
            answer = self.back_end.ask("nearport/app_settings_get", &query, "{}");
        }
        assert_eq!(answer["ErrorCode"], 0, "{answer}");
        answer
    }

    /// A setting as the node has it: value and origin.
    fn shown(&self, name: &str) -> (String, String) {
        let listed = self.hear();
        let list = listed["SettingList"].as_array().unwrap();
        let one = list.iter().find(|one| one["Name"] == name).unwrap_or_else(|| panic!("{name}: {listed}"));
        (one["Value"].as_str().unwrap().to_owned(), one["Origin"].as_str().unwrap().to_owned())
    }

    /// Sets settings as the App's own administrator does; the answer.
    fn set_by_api(&self, settings: &[(&str, &str)], unset: &[&str]) -> Value {
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
        let body = json!({ "SettingList": settings, "UnsetList": unset });
        loop {
            let answer = self.back_end.call("nearport/app_settings_set", &body);
            // Five in a second.
            if answer["ErrorCode"] != 60007 {
                return answer;
            }
        }
    }

    /// The audit log.
    fn exported(&self, args: &[&str]) -> Vec<Value> {
        let output = self.node.nearport(&[&["audit", "export"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
