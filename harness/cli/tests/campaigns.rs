//! Whole campaigns: the same bytes again, going on after an interruption, and damage that is found.

mod common;

use common::{Done, Place, SMALL, flip};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: [&str; 4] = [
    "full-movie.baseline.r20.s1",
    "full-movie.baseline.r20.s2",
    "full-movie.beldi.r20.s1",
    "full-movie.beldi.r20.s2",
];

/// Runs the small campaign. It is too short for any verdict, which the exit status says.
fn run(place: &Place, out: &str, more: &[&str]) -> Done {
    let mut args = vec!["run", "mine.toml", "--out", out];
    args.extend(more);
    place.triptych(&args)
}

#[test]
fn the_same_campaign_gives_the_same_bytes_on_any_number_of_cores() {
    let place = Place::new(SMALL);
    let done = run(&place, "one", &["--jobs", "1"]);
    done.exits(3).prints(&[
        "baseline",
        "beldi",
        "req/s",
        "unknown",
        "report: one/report.html",
    ]);
    done.tells(&["[4/4]", "beldi on full-movie: effects unknown"]);
    run(&place, "two", &["--jobs", "2"]).exits(3);
    assert_eq!(place.runs("one"), RUNS);
    for run in RUNS {
        for (one, two) in place
            .deterministic("one", run)
            .iter()
            .zip(place.deterministic("two", run))
        {
            assert!(*one == two, "{run}: {} differs", one.0);
        }
    }
    let report = fs::read_to_string(place.path("one/report.html")).unwrap();
    assert!(report.contains("beldi") && report.contains("<svg"));
}

/// The same for the other apps, with transactions and their histories, workflows, and a graph.
#[test]
fn every_app_gives_the_same_bytes_again() {
    for (profile, settings) in [
        ("hot-travel-1", "hotels = 3\nflights = 3\nlisted = 9"),
        ("full-travel-steps", "hotels = 3\nflights = 3\nlisted = 9"),
        ("full-social-interactive", "users = 12\nchunk = 3"),
    ] {
        let text = SMALL.replace("full-movie", profile);
        let text = text.replace("movies = 10\nusers = 10", settings);
        let place = Place::new(&text);
        run(&place, "one", &["--jobs", "1"]).prints(&[profile, "beldi"]);
        run(&place, "two", &["--jobs", "2"]);
        for run in RUNS.map(|run| run.replace("full-movie", profile)) {
            let two = place.deterministic("two", &run);
            let one = place.deterministic("one", &run);
            assert!(one.len() > 5, "{run}");
            for (one, two) in one.iter().zip(two) {
                assert!(*one == two, "{run}: {} differs", one.0);
            }
        }
        place.triptych(&["verify", "one"]).exits(0);
    }
}

#[test]
fn a_campaign_goes_on_where_it_stopped() {
    let place = Place::new(SMALL);
    run(&place, "out", &["--only", RUNS[0], "--only", RUNS[3]])
        .exits(3)
        .tells(&["2 of 4 runs"]);
    assert_eq!(place.runs("out"), [RUNS[0], RUNS[3]]);
    run(&place, "out", &[])
        .exits(2)
        .tells(&["holds 2 of 4 runs", "--resume", "--force"]);
    let kept = place
        .path("out/runs")
        .join(RUNS[0])
        .join("environment.json");
    let before = fs::read(&kept).unwrap();
    run(&place, "out", &["--resume"]).exits(3).tells(&["[2/2]"]);
    assert_eq!(place.runs("out"), RUNS);
    assert_eq!(
        fs::read(&kept).unwrap(),
        before,
        "a finished run is not done again"
    );
    // One that was lost comes back the same.
    let lost = place.deterministic("out", RUNS[2]);
    fs::remove_dir_all(place.path("out/runs").join(RUNS[2])).unwrap();
    run(&place, "out", &["--resume"]).exits(3).tells(&["[1/1]"]);
    assert!(place.deterministic("out", RUNS[2]) == lost);

    fs::write(
        place.path("mine.toml"),
        SMALL.replace("rates = [20]", "rates = [30]"),
    )
    .unwrap();
    run(&place, "out", &["--resume"])
        .exits(2)
        .tells(&["another campaign", "4 finished runs"]);
    assert_eq!(place.runs("out"), RUNS);
    run(
        &place,
        "out",
        &["--force", "--only", "full-movie.baseline.r30.s1"],
    )
    .exits(3);
    assert_eq!(place.runs("out"), ["full-movie.baseline.r30.s1"]);
}

#[test]
fn damage_is_found_and_named() {
    let place = Place::new(SMALL);
    run(&place, "out", &[]).exits(3);
    place
        .triptych(&["verify", "out"])
        .exits(0)
        .prints(&["4 of 4 bundles verified"]);
    let bundle = place.path("out/runs").join(RUNS[3]);
    let one = bundle.to_str().unwrap();
    place
        .triptych(&["verify", one])
        .exits(0)
        .prints(&["verdict.json", "recomputed"]);
    for file in ["ops.bin", "summary.json", "verdict.json"] {
        let intact = fs::read(bundle.join(file)).unwrap();
        flip(&bundle.join(file));
        let done = place.triptych(&["verify", "out"]);
        done.exits(1)
            .prints(&[file, "damaged", "3 of 4 bundles verified"]);
        fs::write(bundle.join(file), intact).unwrap();
    }
    // The report says what it leaves out, and takes the rest.
    flip(&bundle.join("summary.json"));
    let done = place.triptych(&["report", "out"]);
    done.exits(3)
        .tells(&[RUNS[3], "damaged"])
        .prints(&["report.html"]);
    let other = place.path("out/runs").join(RUNS[2]);
    place
        .triptych(&["report", other.to_str().unwrap()])
        .exits(0);
    assert!(
        place
            .path("out/runs")
            .join(format!("{}-report/report.html", RUNS[2]))
            .exists()
    );
    place
        .triptych(&["verify", other.to_str().unwrap()])
        .exits(0);
}

#[test]
fn an_interruption_leaves_what_is_finished() {
    let place = Place::new(&SMALL.replace("repetitions = 2", "repetitions = 500"));
    let mut command = place.command(&["run", "mine.toml", "--out", "out", "--jobs", "2"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now();
    while place.runs("out").len() < 2 {
        assert!(
            patience.elapsed() < Duration::from_secs(120),
            "no run was finished"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let done = Done::of(child.wait_with_output().unwrap());
    done.exits(3).tells(&[
        "interrupted",
        "of 1000 runs are missing",
        "--out out --resume",
    ]);
    done.prints(&["report: out/report.html"]);
    let runs = place.runs("out");
    assert!((2..1000).contains(&runs.len()), "{}", runs.len());
    for run in runs.iter().take(4) {
        let bundle = place.path("out/runs").join(run);
        place
            .triptych(&["verify", bundle.to_str().unwrap()])
            .exits(0);
    }
    place
        .triptych(&["verify", "out"])
        .exits(3)
        .prints(&["missing"]);
}

#[test]
fn a_batch_of_seeds_has_one_verdict_and_every_failure_its_command() {
    let place = Place::new(SMALL);
    let done = place.triptych(&["check", "--runtime", "beldi", "--seeds", "2"]);
    done.exits(3)
        .prints(&["2 seeds", "M4", "effects", "too little seen"]);
    // Many crashes, so that few seeds are enough to catch the unsafe baseline.
    let args = [
        "check",
        "--runtime",
        "baseline",
        "--seeds",
        "12",
        "--crash-rate",
        "0.5",
    ];
    let done = place.triptych(&args);
    done.prints(&["invalid", "seeds violate a rule"]);
    let again = done
        .out
        .lines()
        .rev()
        .find(|line| line.contains("--first-seed"))
        .unwrap();
    let args: Vec<&str> = again.split_whitespace().skip(1).collect();
    place
        .triptych(&args)
        .prints(&["invalid", "1 seeds violate a rule"]);
}
