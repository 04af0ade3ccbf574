//! `nearport locate eval` against the real program.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::node::output;

const HEAD: &str =
    "client_city,client_country,client_lat,client_lon,pop_city,pop_country,pop_lat,pop_lon,rtt_ms_min\n";

#[test]
fn choices_are_judged_and_a_bad_file_is_named_with_its_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    // The nearer of two PoPs is a detour for all cities.
    let mut rows = HEAD.to_owned();
    for n in 0..20 {
        let lat = 11.0 + f64::from(n) / 2.0;
        rows.push_str(&format!(
            "C{n},VN,{lat},106,Near,VN,16,106,200\nC{n},VN,{lat},106,Far,SG,1.3,103.8,30\n"
        ));
    }
    fs::write(dir.path().join("rtt.csv"), &rows).unwrap();
    fs::write(dir.path().join("bad.csv"), format!("{rows}X,VN,95,106,Far,SG,1.3,103.8,30\n")).unwrap();
    let run = |file: &str| {
        let args =
            ["locate", "eval", "--train", file, "--cross-validate", "2", "--cuttings", "3", "--json", "-"];
        output(Command::new(env!("CARGO_BIN_EXE_nearport")).args(args).current_dir(dir.path()))
    };
    let judged = run("rtt.csv");
    assert!(judged.status.success());
    let report: Value = serde_json::from_slice(&judged.stdout).unwrap();
    let policies = report["cross_validation"]["policies"].as_array().unwrap();
    let of = |name: &str| policies.iter().find(|policy| policy["policy"] == name).unwrap();
    assert!(of("nearest")["mean_ms"].as_f64().unwrap() > 100.0);
    assert!(of("learned_top1")["mean_ms"].as_f64().unwrap() < 1.0);
    assert_eq!(of("top3")["continents"]["AS"]["clients"], 20);

    let over = report["cross_validation"]["over_cuttings"].as_array().unwrap();
    assert_eq!((over.len(), over[0]["policy"].as_str()), (policies.len(), Some("nearest")));
    assert_eq!(over[2]["better_than_top3"], 0.0, "two PoPs are all in any set of three");

    let refused = run("bad.csv");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("bad.csv") && said.contains("line 42") && said.contains("client_lat"), "{said}");
}
