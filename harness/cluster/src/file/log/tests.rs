//! What cluster files may say, and how mistakes in them are shown.

use super::*;
use crate::file::ClusterFile;
use triptych_log::{Level, Shape};
use triptych_world::{MS, US};

const LOG: &str = include_str!("../../../../../workloads/clusters/local.toml");

const GOOD: &str = r#"
name = "mine"
level = "synced"

[shape]
logs = 2
metas = 3
copies = 2
indexes = 1

[nodes]
base_port = 7001
controllers = 1
sequencers = 3
storages = [
    { id = 210, listen = "127.0.0.1:8001" },
    { id = 211, listen = "127.0.0.1:8002" },
]
engines = 2

[timing]
report_every = "300us"
"#;

fn mistakes(text: &str) -> String {
    LogFile::parse("mine.toml", text)
        .expect_err("should not be taken")
        .to_string()
}

/// The message for the good file with one thing changed.
#[track_caller]
fn changed(from: &str, to: &str, told: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    has(&mistakes(&GOOD.replacen(from, to, 1)), told);
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn the_example_is_a_cluster_with_the_defaults_that_it_tells() {
    let file = LogFile::parse("local.toml", LOG).unwrap();
    assert_eq!(file.nodes().len(), 12);
    assert_eq!(file.config().check(), Ok(()));
    assert_eq!(
        file.config().engines,
        Config::of(3, 3, 3, 3, file.shape.shape()).engines
    );
    // What is commented out, if it is put in, changes nothing.
    let keys = ["_every = ", "_after = ", "on_ticks = ", "_bytes = "];
    let lines = LOG.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if keys.iter().any(|key| rest.contains(key)) => rest,
        _ => line,
    });
    let told: Vec<&str> = lines.collect();
    assert!(told.iter().filter(|line| !line.starts_with('#')).count() > 28);
    assert_eq!(LogFile::parse("told.toml", &told.join("\n")), Ok(file));
}

#[test]
fn nodes_have_numbers_and_addresses() {
    let file = LogFile::parse("mine.toml", GOOD).unwrap();
    let nodes: Vec<String> = file.nodes().iter().map(NodeAt::to_string).collect();
    assert_eq!(
        nodes,
        [
            "controller 1 (127.0.0.1:7001)",
            "sequencer 100 (127.0.0.1:7002)",
            "sequencer 101 (127.0.0.1:7003)",
            "sequencer 102 (127.0.0.1:7004)",
            "storage 210 (127.0.0.1:8001)",
            "storage 211 (127.0.0.1:8002)",
            "engine 1000 (127.0.0.1:7005)",
            "engine 1001 (127.0.0.1:7006)",
        ]
    );
    let config = file.config();
    assert_eq!(config.level, Level::Synced);
    let shape = Shape {
        logs: 2,
        metas: 3,
        copies: 2,
        indexes: 1,
    };
    assert_eq!(config.shape, shape);
    assert_eq!(
        (config.timing.report_every, config.timing.again_after),
        (300 * US, 5 * MS)
    );
    let file = ClusterFile::from(file);
    assert_eq!(file.node(Role::Storage, 211).unwrap().name(), "storage-211");
    let error = file.node(Role::Storage, 100).unwrap_err();
    has(&error, &["storages are 210, 211", "100 is a sequencer"]);
}

#[test]
fn a_file_reads_back_from_what_is_told_of_it() {
    for text in [GOOD, LOG] {
        let file = LogFile::parse("mine.toml", text).unwrap();
        let told = toml::to_string(&file).unwrap();
        assert_eq!(LogFile::parse("told.toml", &told), Ok(file), "{told}");
    }
}

#[test]
fn identity_is_what_data_depends_on() {
    let identity = |from: &str, to: &str| {
        let text = GOOD.replacen(from, to, 1);
        LogFile::parse("mine.toml", &text).unwrap().identity()
    };
    let same = identity("mine", "mine");
    assert_eq!(identity("7001", "7100"), same);
    assert_eq!(identity("300us", "400us"), same);
    assert_ne!(identity("\"mine\"", "\"yours\""), same);
    assert_ne!(identity("logs = 2", "logs = 3"), same);
    assert_ne!(identity("synced", "memory"), same);
}

#[test]
fn unknown_and_missing_keys() {
    changed(
        "level =",
        "levels =",
        &[
            "mine.toml:3:1",
            "did you mean `level`?",
            "`level` is missing",
        ],
    );
    changed(
        "copies = 2",
        "replicas = 2",
        &["mine.toml:8:1", "the keys in [shape] are"],
    );
    changed(
        "report_every",
        "report_evry",
        &["mine.toml:22:1", "did you mean `report_every`?"],
    );
    changed(
        "listen = \"127.0.0.1:8001\"",
        "at = \"x\"",
        &["mine.toml:16:", "`listen` is missing"],
    );
}

#[test]
fn wrong_types_words_and_units() {
    changed(
        "\"synced\"",
        "\"sinced\"",
        &["mine.toml:3:9", "did you mean `synced`?", "memory, synced"],
    );
    changed(
        "metas = 3",
        "metas = \"three\"",
        &["mine.toml:7:9", "a whole number"],
    );
    changed("metas = 3", "metas = 0", &["mine.toml:7:9", "at least 1"]);
    changed("\"300us\"", "\"300\"", &["mine.toml:22:16", "no unit"]);
    changed(
        "\"300us\"",
        "\"0s\"",
        &["mine.toml:22:16", "no time at all"],
    );
    changed(
        "engines = 2",
        "engines = \"two\"",
        &["mine.toml:19:11", "a whole number or a list"],
    );
    changed("engines = 2", "engines = []", &["mine.toml:19:11", "empty"]);
    changed(
        "\"mine\"",
        "\"../mine\"",
        &["mine.toml:2:8", "cannot name a folder"],
    );
}

#[test]
fn too_few_nodes() {
    changed(
        "sequencers = 3",
        "sequencers = 2",
        &[
            "mine.toml:7:9",
            "`metas` is 3, but there are only 2 sequencers",
        ],
    );
    changed(
        "copies = 2",
        "copies = 3",
        &["mine.toml:8:10", "only 2 storages", "at most 2"],
    );
    changed(
        "indexes = 1",
        "indexes = 3",
        &["mine.toml:9:11", "only 2 engines"],
    );
}

#[test]
fn wrong_addresses() {
    changed(
        "127.0.0.1:8002",
        "127.0.0.1:0",
        &["mine.toml:17:", "port 0", "127.0.0.1:7001"],
    );
    changed(
        "127.0.0.1:8002",
        "0.0.0.0:8002",
        &["mine.toml:17:", "every address"],
    );
    changed(
        "127.0.0.1:8002",
        "here:8002",
        &["mine.toml:17:", "\"here:8002\" is not an address"],
    );
    changed(
        "127.0.0.1:8002",
        "127.0.0.1",
        &["mine.toml:17:", "is not an address"],
    );
    changed(
        "base_port = 7001",
        "host = \"local\"\nbase_port = 7001",
        &["mine.toml:12:8", "\"local\" is not an IP"],
    );
    changed(
        "base_port = 7001",
        "base_port = 65533",
        &["mine.toml:12:13", "too high", "65535"],
    );
    changed(
        "base_port = 7001",
        "base_port = 0",
        &["mine.toml:12:13", "at least 1"],
    );
    changed(
        "base_port = 7001\n",
        "",
        &["mine.toml:12:15", "no `base_port`"],
    );
}

#[test]
fn things_that_are_there_twice() {
    changed(
        "id = 211",
        "id = 210",
        &["mine.toml:17:", "the number 210 is there twice"],
    );
    changed(
        "id = 211",
        "id = 101",
        &[
            "mine.toml:17:",
            "a sequencer 101",
            "a storage 101",
            "over all roles",
        ],
    );
    changed(
        "8002",
        "8001",
        &["mine.toml:17:", "listen at the same address"],
    );
    changed(
        "8002",
        "7005",
        &[
            "mine.toml:19:",
            "engine 1000",
            "storage 211",
            "the same address",
        ],
    );
}

#[test]
fn times_and_limits_that_nothing_works_with() {
    changed(
        "report_every = \"300us\"",
        "dead_after = \"30ms\"",
        &["mine.toml:22:14", "every 20ms", "at least 40ms"],
    );
    changed(
        "report_every = \"300us\"",
        "give_up_after = \"1ms\"",
        &["mine.toml:22:17", "gives up"],
    );
    changed(
        "[timing]\nreport_every = \"300us\"",
        "[limits]\npending_bytes = 2048",
        &["mine.toml:22:17", "no room for one record"],
    );
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text = GOOD
        .replace("copies = 2", "copies = 5")
        .replace("8002", "8001");
    let error = LogFile::parse("mine.toml", &text).unwrap_err();
    assert_eq!(error.mistakes.len(), 2, "{error}");
}
