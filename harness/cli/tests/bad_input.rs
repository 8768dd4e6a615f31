//! Mistakes are found before anything runs, and shown with what would be right.

mod common;

use common::{Place, SMALL};

/// A campaign with one mistake exits with 2, says where it is, and leaves nothing behind.
#[track_caller]
fn mistake(from: &str, to: &str, told: &[&str]) {
    assert!(SMALL.contains(from));
    let place = Place::new(&SMALL.replacen(from, to, 1));
    place
        .triptych(&["run", "mine.toml", "--out", "out"])
        .exits(2)
        .tells(told);
    assert!(!place.path("out").exists(), "nothing was begun");
}

#[test]
fn a_wrong_key() {
    mistake(
        "rates = ",
        "rate = ",
        &["mine.toml:5:1", "did you mean `rates`?", "5 | rate = [20]"],
    );
}

#[test]
fn a_wrong_type() {
    mistake(
        "repetitions = 2",
        "repetitions = \"two\"",
        &["mine.toml:8:15", "a whole number"],
    );
}

#[test]
fn a_wrong_name() {
    mistake(
        "\"beldi\"",
        "\"bledi\"",
        &["mine.toml:3:25", "did you mean `beldi`?", "baseline"],
    );
    let told = [
        "did you mean `full-movie`?",
        "full-movie-choreo",
        "compat-beldi-movie",
    ];
    mistake("\"full-movie\"", "\"full-movies\"", &told);
}

#[test]
fn a_wrong_unit() {
    mistake(
        "\"3s\"",
        "\"3sec\"",
        &["mine.toml:6:12", "`sec` is not a unit", "did you mean `s`?"],
    );
    mistake("\"3s\"", "\"3\"", &["no unit", "ms, s, min, h"]);
}

#[test]
fn a_file_that_is_not_there() {
    let place = Place::new(SMALL);
    place
        .triptych(&["run", "other.toml"])
        .exits(2)
        .tells(&["other.toml: cannot be read"]);
    place
        .triptych(&["verify", "nowhere"])
        .exits(2)
        .tells(&["nowhere does not exist"]);
    place
        .triptych(&["report", "."])
        .exits(2)
        .tells(&["is no campaign and no bundle"]);
}

#[test]
fn an_output_folder_that_cannot_be_written_is_found_before_the_run() {
    let place = Place::new(SMALL);
    let told = [
        "the output folder mine.toml/out cannot be written",
        "--out DIR",
    ];
    place
        .triptych(&["run", "mine.toml", "--out", "mine.toml/out"])
        .exits(2)
        .tells(&told);
    // The folder of somebody else's things is not one to write into either.
    let done = place.triptych(&["run", "mine.toml", "--out", "."]);
    done.exits(2)
        .tells(&["is not empty (mine.toml is in it)", "--force"]);
}

#[test]
fn a_damaged_edge_list() {
    let text = SMALL.replace("full-movie", "full-social");
    let text = text.replace("movies = 10\nusers = 10", "graph = \"friends.edges\"");
    let place = Place::new(&text);
    let told = |edges: &str, told: &[&str]| {
        std::fs::write(place.path("friends.edges"), edges).unwrap();
        place
            .triptych(&["run", "mine.toml", "--out", "out"])
            .exits(2)
            .tells(&[&["mine.toml:", "graph"], told].concat());
        assert!(!place.path("out").exists(), "nothing was begun");
    };
    told("1 2\n2 three\n", &["friends.edges:2", "three"]);
    told("1 2\n\n3\n", &["friends.edges:3"]);
    told("# nobody\n", &["friends.edges"]);
    std::fs::remove_file(place.path("friends.edges")).unwrap();
    let done = place.triptych(&["run", "mine.toml", "--out", "out"]);
    done.exits(2).tells(&["friends.edges"]);
}

#[test]
fn names_on_the_command_line() {
    let place = Place::new(SMALL);
    let done = place.triptych(&["run", "mine.toml", "--only", "full-movie.beldi.r20.s9"]);
    done.exits(2)
        .tells(&["has no run", "full-movie.beldi.r20.s2"]);
    place
        .triptych(&["run", "mine.toml", "--name", "a/b"])
        .exits(2)
        .tells(&["cannot name"]);
    let done = place.triptych(&["check", "--runtime", "bledi", "--seeds", "1"]);
    done.exits(2).tells(&["did you mean `beldi`?"]);
    place
        .triptych(&["check", "--runtime", "beldi", "--crash-rate", "2"])
        .exits(2);
    let done = place.triptych(&["conform", "--runtime", "bledi"]);
    done.exits(2).tells(&["baseline, beldi"]);
    let done = place.triptych(&["conform", "--runtime", "serial", "--only", "sned"]);
    done.exits(2).tells(&["crash-once"]);
    let once = [
        "conform",
        "--runtime",
        "serial",
        "--only",
        "crash-once",
        "--case",
    ];
    let done = place.triptych(&[&once[..], &["sideways@1"]].concat());
    done.exits(2).tells(&["reply-lost"]);
    let done = place.triptych(&[&once[..], &["before@0"]].concat());
    done.exits(0).prints(&["crash-once  passed"]);
    place
        .triptych(&["list", "clouds"])
        .exits(2)
        .tells(&["runtimes"]);
}

#[test]
fn what_exists_can_be_listed() {
    let place = Place::new(SMALL);
    place
        .triptych(&["list", "runtimes"])
        .exits(0)
        .prints(&["baseline\t", "beldi\t"]);
    place
        .triptych(&["list", "apps"])
        .exits(0)
        .prints(&["movie\t"]);
    place
        .triptych(&["list", "profiles"])
        .exits(0)
        .prints(&["full-movie\t"]);
    place
        .triptych(&["list", "prices"])
        .exits(0)
        .prints(&["aws-us-east-1-2020-11\t"]);
    place
        .triptych(&["list", "latencies"])
        .exits(0)
        .prints(&["aws-2020\t"]);
    let done = place.triptych(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&done.exits(0).out).unwrap();
    assert!(schema["properties"]["rates"].is_object());
}
