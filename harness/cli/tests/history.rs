//! The `history` command on a real bundle and on files: export, check, refusal.

mod common;

use common::Place;
use std::fs;

const LEDGER: &str = r#"
name = "ledger"
runtimes = ["baseline", "beldi"]
profiles = ["hot-ledger"]
rates = [20]
duration = "4s"
warmup = "1s"

[settings]
lists = 2
accounts = 3
"#;

#[test]
fn a_history_is_exported_checked_and_drawn() {
    let place = Place::new(LEDGER);
    place.triptych(&["run", "mine.toml", "--out", "out", "--jobs", "1"]);
    let baseline = "out/runs/hot-ledger.baseline.r20.s1";
    let beldi = "out/runs/hot-ledger.beldi.r20.s1";
    assert!(place.path(beldi).join("history.bin").exists());
    place
        .triptych(&["verify", "out"])
        .exits(0)
        .prints(&["digests of 9 files"]);

    let done = place.triptych(&["history", beldi]);
    done.exits(0).prints(&["strongest level", "serializable"]);
    // The baseline promises no isolation, so its anomalies are data.
    let done = place.triptych(&["history", baseline, "--pictures", "pictures"]);
    done.exits(0).prints(&["G1a", "which was aborted"]);
    let svg = fs::read_to_string(place.path("pictures/G1a.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("T1"));

    let files = ["--elle", "history.edn", "--json", "history.jsonl"];
    let args: Vec<&str> = ["history", baseline].into_iter().chain(files).collect();
    place
        .triptych(&args)
        .exits(0)
        .tells(&["history.edn written"]);
    let edn = fs::read_to_string(place.path("history.edn")).unwrap();
    assert!(edn.contains(":type :ok") && edn.contains(":append"));
    // Of a file nobody knows who promised what, so it should be serializable.
    place.triptych(&["history", "history.jsonl"]).exits(1);
    let json = fs::read_to_string(place.path("history.jsonl")).unwrap();
    let cut = &json[..json.len() / 2];
    fs::write(place.path("cut.jsonl"), cut).unwrap();
    place
        .triptych(&["history", "cut.jsonl"])
        .exits(2)
        .tells(&["not whole"]);
}

#[test]
fn what_has_no_history_says_so() {
    let place = Place::new(&LEDGER.replace("[settings]", "[platform]\nshuffle = true\n[settings]"));
    place
        .triptych(&["history", "nothing"])
        .exits(2)
        .tells(&["does not exist"]);
    let without = LEDGER.replace("warmup", "history = false\nwarmup");
    fs::write(place.path("mine.toml"), without).unwrap();
    place.triptych(&["run", "mine.toml", "--out", "out", "--jobs", "1"]);
    let done = place.triptych(&["history", "out/runs/hot-ledger.beldi.r20.s1"]);
    done.exits(2).tells(&["history = false"]);
    place
        .triptych(&["history", "out"])
        .exits(2)
        .tells(&["name one of its runs"]);
}
