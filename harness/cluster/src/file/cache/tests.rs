//! What files of rings may say, and how mistakes in them are shown.

use super::*;
use crate::file::ClusterFile;
use triptych_mesh::Level;
use triptych_world::{MS, Nanos};

const EXAMPLE: &str = include_str!("../../../../../workloads/clusters/cache.toml");

const GOOD: &str = r#"
kind = "cache"
name = "mine"
level = "replicated"
replicas = 2

[nodes]
base_port = 7001
servers = 3
databases = [{ id = 50, listen = "127.0.0.1:8001" }]

[timing]
alive_every = "10ms"
"#;

/// The message for the good file with one thing changed.
#[track_caller]
fn changed(from: &str, to: &str, told: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    let error = ClusterFile::parse("ring.toml", &text).expect_err("should not be taken");
    has(&error.to_string(), told);
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

fn ring(text: &str) -> CacheFile {
    CacheFile::parse("ring.toml", text).unwrap()
}

#[test]
fn the_example_is_a_ring_with_the_defaults_that_it_tells() {
    let file = ring(EXAMPLE);
    assert_eq!(file.nodes().len(), 4);
    assert_eq!(file.config().check(), Ok(()));
    assert!(file.config().backed && !file.config().compat);
    // What is commented out, if it is put in, changes nothing.
    let keys = [
        "_after = ",
        "_every = ",
        "_for = ",
        "_keys = ",
        "_rows = ",
        "unstable = ",
    ];
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if keys.iter().any(|key| rest.contains(key)) => rest,
        _ => line,
    });
    let told: Vec<&str> = lines.collect();
    assert!(told.iter().filter(|line| !line.starts_with('#')).count() > 26);
    assert_eq!(ring(&told.join("\n")), file);
}

#[test]
fn servers_have_numbers_addresses_and_the_order_of_the_ring() {
    let file = ring(GOOD);
    let nodes: Vec<String> = file.nodes().iter().map(NodeAt::to_string).collect();
    assert_eq!(
        nodes,
        [
            "cache 1 (127.0.0.1:7001)",
            "cache 2 (127.0.0.1:7002)",
            "cache 3 (127.0.0.1:7003)",
            "database 50 (127.0.0.1:8001)",
        ]
    );
    let config = file.config();
    assert_eq!((config.level, config.further()), (Level::Replicated, 2));
    assert_eq!(config.timing.alive_every, 10 * MS);
    assert_eq!(config.timing.disseminate_every, 0);
    let published = ring(&GOOD.replace("level", "disseminate = false\nlevel"));
    assert_eq!(published.config().timing.disseminate_every, Nanos::MAX);
    let file = ClusterFile::from(file);
    assert_eq!(file.node(Role::Database, 50).unwrap().name(), "database-50");
    let told = file.node(Role::Cache, 50).unwrap_err();
    has(&told, &["caches are 1, 2, 3", "50 is a database"]);
    let told = file.node(Role::Engine, 1).unwrap_err();
    has(&told, &["a cache, has no engine", "1 is a cache"]);
}

#[test]
fn a_file_reads_back_from_what_is_told_of_it() {
    for text in [GOOD, EXAMPLE] {
        let file = ClusterFile::parse("ring.toml", text).unwrap();
        let told = file.to_toml();
        assert_eq!(ClusterFile::parse("told.toml", &told), Ok(file), "{told}");
    }
}

#[test]
fn identity_is_what_data_depends_on() {
    let identity = |from: &str, to: &str| ring(&GOOD.replacen(from, to, 1)).identity();
    let same = identity("mine", "mine");
    assert_eq!(identity("7001", "7100"), same);
    assert_eq!(identity("servers = 3", "servers = 4"), same);
    assert_eq!(identity("10ms", "15ms"), same);
    assert_ne!(identity("\"mine\"", "\"yours\""), same);
    assert_ne!(identity("replicas = 2", "replicas = 1"), same);
    assert_ne!(
        identity("level", "merging = \"last-writer-wins\"\nlevel"),
        same
    );
    assert_ne!(identity("databases", "# databases"), same);
}

#[test]
fn the_kind_decides_how_a_file_is_read() {
    changed(
        "\"cache\"",
        "\"cach\"",
        &["ring.toml:2:8", "did you mean `cache`?", "log, cache"],
    );
    changed("\"cache\"", "7", &["ring.toml:2:8", "`log` or `cache`"]);
    changed("kind = ", "kind ", &["ring.toml:2:"]);
    // Without it, it is a log's.
    changed("kind = \"cache\"", "", &["there is no key `replicas`"]);
    let log = include_str!("../../../../../workloads/clusters/local.toml");
    let error = CacheFile::parse("c.toml", log).unwrap_err().to_string();
    has(&error, &["`kind` is missing"]);
    let error = crate::file::LogFile::parse("c.toml", GOOD).unwrap_err();
    has(&error.to_string(), &["c.toml:", "no key"]);
}

#[test]
fn unknown_keys_words_and_types() {
    changed(
        "level =",
        "levels =",
        &[
            "ring.toml:4:1",
            "did you mean `level`?",
            "`level` is missing",
        ],
    );
    changed(
        "\"replicated\"",
        "\"replicate\"",
        &[
            "ring.toml:4:9",
            "did you mean `replicated`?",
            "async, synced, replicated",
        ],
    );
    changed(
        "servers = 3",
        "servers = \"three\"",
        &["ring.toml:9:11", "a whole number or a list"],
    );
    changed(
        "servers = 3",
        "engines = 3",
        &["ring.toml:9:1", "the keys in [nodes]"],
    );
    changed(
        "level",
        "merging = \"latest\"\nlevel",
        &["ring.toml:4:11", "changes, last-writer-wins"],
    );
    changed("\"10ms\"", "\"10\"", &["ring.toml:13:15", "no unit"]);
    changed(
        "\"mine\"",
        "\"a/b\"",
        &["ring.toml:3:8", "cannot name a folder"],
    );
}

#[test]
fn rings_that_cannot_be() {
    changed(
        "servers = 3",
        "servers = 1",
        &["ring.toml:9:11", "one server is no ring", "at least 2"],
    );
    changed(
        "servers = 3",
        "servers = [{ id = 1, listen = \"127.0.0.1:9001\" }]",
        &["ring.toml:9:11", "one server is no ring"],
    );
    changed(
        "replicas = 2",
        "replicas = 3",
        &["ring.toml:5:12", "only 2 servers", "at most 2"],
    );
    changed(
        "\"replicated\"",
        "\"async\"",
        &["ring.toml:5:12", "means nothing at level `async`"],
    );
    changed(
        "[{ id = 50, listen = \"127.0.0.1:8001\" }]",
        "2",
        &["ring.toml:10:13", "a ring has one"],
    );
    changed(
        "id = 50",
        "id = 2",
        &["the number 2 is there twice", "a cache 2", "a database 2"],
    );
    changed(
        "8001",
        "7002",
        &["cache 2", "database 50", "the same address"],
    );
    changed(":8001", ":0", &["ring.toml:10:", "port 0"]);
    changed("7001", "65534", &["ring.toml:8:13", "too high", "65535"]);
}

#[test]
fn times_that_nothing_works_with() {
    changed(
        "alive_every = \"10ms\"",
        "lease = \"30ms\"",
        &["ring.toml:13:9", "every 20ms", "at least 40ms"],
    );
    changed(
        "alive_every = \"10ms\"",
        "dead_after = \"100ms\"",
        &["ring.toml:13:14", "a lease of 100ms", "more than `lease`"],
    );
    changed("\"10ms\"", "\"0s\"", &["ring.toml:13:15", "no time at all"]);
}
