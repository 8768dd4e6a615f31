//! The README is true: its campaign is valid, every `triptych` command in it does what it says, and
//! the files that it points to exist.

mod common;

use common::Place;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced blocks in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let after = text.split(fence.as_str()).skip(1);
    after
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// The commands of the README, without their comments.
fn commands(text: &str) -> Vec<String> {
    let blocks = blocks(text, "sh").concat();
    let lines = blocks
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_of_the_readme_works() {
    let text = readme();
    let campaigns = blocks(&text, "toml");
    assert_eq!(campaigns.len(), 1);
    let saturation =
        "[saturation]\np99_bound = \"5s\"\nlowest = 5\nhighest = 10\nprecision = 0.5\n";
    let place = Place::new(&campaigns[0]);
    let mut seen = 0;
    for command in commands(&text) {
        let arguments = match command.strip_prefix("triptych ") {
            Some(arguments) => arguments,
            None => match command.strip_prefix("cargo run --release -- ") {
                Some(arguments) => arguments,
                None => {
                    let known = ["cargo test --workspace", "cargo bench -p triptych-"];
                    assert!(
                        known.iter().any(|known| command.starts_with(known)),
                        "{command}"
                    );
                    continue;
                }
            },
        };
        seen += 1;
        let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
        match arguments[..] {
            // The default campaign and the many seeds take minutes without optimisation: a part of
            // each stands for the whole.
            ["run"] => {
                arguments.extend(["--only", "full-movie.beldi.r200.s1", "--out", "default"]);
            }
            ["check", ..] => {
                let at = arguments.iter().position(|word| *word == "1000").unwrap();
                arguments[at] = "8";
            }
            ["saturate", ..] => {
                std::fs::write(place.path("mine.toml"), campaigns[0].clone() + saturation).unwrap();
            }
            ["cluster", "check", ..] => {
                let at = arguments.iter().position(|word| *word == "10000").unwrap();
                arguments[at] = "8";
            }
            // A cluster of processes is up until somebody ends it: `tests/cluster.rs` starts one, puts
            // a load on it, and kills its nodes.
            ["cluster", "up", ..] | ["bench", ..] | ["node", ..] | ["calibrate", ..] => continue,
            ["selftest"] => continue,
            _ => {}
        }
        let done = place.triptych(&arguments);
        // A part of a campaign is incomplete, and what a few seeds saw may be too little.
        let may_be_unknown = arguments.contains(&"check") || arguments.contains(&"--only");
        let fine = done.code == Some(0) || may_be_unknown && done.code == Some(3);
        assert!(
            fine,
            "{command}: {:?}\n{}\n{}",
            done.code, done.out, done.err
        );
    }
    assert!(seen >= 9, "only {seen} commands were found");
    assert!(place.path("triptych-out/mine/report.html").exists());
}

/// The self-test is a command of its own here, because it takes longest.
#[test]
fn the_self_test_passes() {
    let place = Place::new("");
    place
        .triptych(&["selftest"])
        .exits(0)
        .prints(&["stall oracle", "M/M/1"]);
}

#[test]
fn the_readme_points_to_files_that_exist() {
    let text = readme();
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let mut seen = 0;
    for target in targets.filter(|target| !target.contains("://")) {
        seen += 1;
        assert!(root().join(target).exists(), "{target}");
    }
    assert!(seen >= 6);
}

#[test]
fn the_campaigns_that_are_shipped_are_valid() {
    let folder = root().join("workloads/campaigns");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let parsed = triptych_load::campaign::Campaign::parse(&file.display().to_string(), &text);
        assert!(parsed.is_ok(), "{}", parsed.unwrap_err());
        seen += 1;
    }
    assert_eq!(seen, 16);
}
