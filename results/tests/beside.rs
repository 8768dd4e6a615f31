//! Synthetic runs beside published numbers.

mod fixture;

use fixture::{Plan, run, unsafe_verdict};
use triptych_results::model::Status;
use triptych_results::{Grid, Loaded, RunBundle, beside, table};

/// Runs of one kind of request on the latencies of the published platform.
fn loaded(plans: &[Plan], latency: &str, change: impl Fn(&mut fixture::Run)) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let mut all: Option<Loaded> = None;
    for plan in plans {
        let mut run = run(plan);
        run.manifest.latency_profile = latency.into();
        run.manifest.kinds.truncate(1);
        run.ops.iter_mut().for_each(|op| op.kind = 0);
        change(&mut run);
        let dir = RunBundle::write(folder.path(), &run.data()).unwrap();
        let one = Loaded::bundle(&RunBundle::open(&dir).unwrap()).unwrap();
        match &mut all {
            Some(all) => all.runs.extend(one.runs),
            None => all = Some(one),
        }
    }
    all.unwrap()
}

fn plan(runtime: &'static str, profile: &'static str, base_ms: f64) -> Plan {
    Plan {
        runtime,
        profile,
        base_ms,
        seconds: 4,
        ..Plan::default()
    }
}

fn movie() -> [Plan; 3] {
    [
        plan("beldi-direct", "compat-beldi-movie", 120.0),
        plan("beldi", "compat-beldi-movie", 240.0),
        plan("boki", "compat-beldi-movie", 30.0),
    ]
}

fn row<'a>(grid: &'a Grid, rate: &str, runtime: &str) -> &'a [String] {
    let mut rows = grid.rows.iter();
    rows.find(|row| row[0] == rate && row[1] == runtime)
        .unwrap_or_else(|| panic!("no {runtime} at {rate}:\n{}", grid.plain(100)))
}

#[test]
fn ours_stand_beside_what_was_published_at_the_same_rate() {
    let tables = beside::tables(&loaded(&movie(), "ec2-2021", |_| ()));
    let grid = &tables[0];
    let text = grid.plain(table::WIDTH);
    println!("{text}");
    assert!(
        text.lines()
            .all(|line| line.chars().count() <= table::WIDTH)
    );
    // Of two runtimes, the one that is what was published.
    let direct = row(grid, "100", "beldi-direct");
    assert_eq!((&*direct[3], &*direct[5]), ("98.62°", "198.95°"));
    assert_eq!((&*direct[7], &*direct[9]), ("3.80", "4.74"));
    let ratio: f64 = direct[6].parse().unwrap();
    assert!((3.0..5.0).contains(&ratio), "{ratio}");
    assert_eq!(direct[10], "valid");
    let other = row(grid, "100", "beldi");
    assert_eq!((&*other[3], &*other[7]), ("–", "–"));
    assert!(other[6].parse::<f64>().unwrap() > 1.5 * ratio);
    let boki = row(grid, "100", "boki");
    assert_eq!((&*boki[3], &*boki[6], &*boki[7]), ("25.96°", "–", "–"));
    // Beyond what was fitted on, at a rate at which nothing ran; and a median without a tail.
    let beyond = row(grid, "150", "beldi-direct");
    assert_eq!((&*beyond[2], &*beyond[5]), ("–", "1,760.33"));
    assert_eq!((&*beyond[9], &*beyond[10]), ("46.7", "not run"));
    let paper = row(grid, "200", "boki");
    assert_eq!((&*paper[3], &*paper[5]), ("26", "–"));
    let notes = grid.notes.join("\n");
    for told in [
        "° in-sample",
        "At 50, 100, 150 requests/s: Boki's artifact.",
        "At 200 requests/s: Boki's paper.",
        "30 medians",
    ] {
        assert!(notes.contains(told), "{told}: {notes}");
    }
    assert!(
        !notes.contains("other requests") && !notes.contains("scans"),
        "{notes}"
    );
    let markdown = grid.markdown();
    assert!(markdown.contains("| 100 | beldi-direct | ") && markdown.contains("* ° in-sample"));
}

/// A ratio is shown as what it is: one of two numbers is no result.
#[test]
fn a_ratio_has_the_worse_of_two_verdicts() {
    for (status, unsafe_baseline, verdict) in [
        (Status::Unknown, false, "unknown"),
        (Status::Invalid, true, "invalid M4"),
    ] {
        let mut plans = movie();
        plans[2].status = status;
        let tables = beside::tables(&loaded(&plans, "ec2-2021", |run| {
            if unsafe_baseline && run.manifest.runtime == "boki" {
                run.verdict = unsafe_verdict();
            }
        }));
        let ratio = &row(&tables[0], "100", "beldi-direct")[6];
        assert!(ratio.starts_with('(') && ratio.ends_with(')'), "{ratio}");
        assert_eq!(row(&tables[0], "100", "boki")[10], verdict);
        assert!(tables[0].notes.iter().any(|note| note.starts_with("(…)")));
    }
}

#[test]
fn only_the_same_platform_app_and_requests_are_compared() {
    assert!(beside::tables(&loaded(&movie(), "aws-2025", |_| ())).is_empty());
    let another = loaded(&movie(), "ec2-2021", |run| {
        run.manifest.app = "social".into()
    });
    assert!(beside::tables(&another).is_empty());
    let measured = loaded(&movie(), "ec2-2021", |run| run.manifest.simulated = false);
    assert!(beside::tables(&measured).is_empty());
    // Other requests of the same app: latencies with a warning, and no work.
    let tables = beside::tables(&loaded(
        &[plan("beldi", "full-movie", 120.0)],
        "ec2-2021",
        |_| (),
    ));
    assert_eq!(tables.len(), 1);
    assert!(tables[0].notes.iter().any(|note| note.contains("other")));
    assert_eq!(row(&tables[0], "100", "beldi")[3], "98.62°");
    // Boki is not among the runtimes, and was published all the same.
    assert_eq!(row(&tables[0], "100", "boki")[3], "25.96°");
    // The published run that did less work says so.
    let travel = loaded(
        &[plan("boki", "compat-beldi-travel", 30.0)],
        "ec2-2021",
        |run| run.manifest.app = "travel".into(),
    );
    let tables = beside::tables(&travel);
    assert!(
        tables[0]
            .notes
            .iter()
            .any(|note| note.contains("scans failed"))
    );
}

#[test]
fn work_stands_beside_what_the_published_code_does() {
    let loaded = loaded(&movie(), "ec2-2021", |run| {
        let answered = run.ops.len() as u64;
        run.work.runtime = match &*run.manifest.runtime {
            "boki" => [("log appends".to_string(), 170 * answered)].into(),
            _ => Default::default(),
        };
    });
    let each = &loaded.runs[2].summary.work_per_request;
    assert_eq!(each["log appends"], 170.0);
    let tables = beside::tables(&loaded);
    let work = &tables[1];
    println!("{}", work.plain(table::WIDTH));
    let of = |runtime: &str, name: &str| {
        let mut rows = work.rows.iter();
        rows.find(|row| row[0] == runtime && row[1] == name)
            .map(|row| row[2..].to_vec())
    };
    let appends = of("boki", "log appends").unwrap();
    assert_eq!(appends, ["170.0", "85.00", "+100.0 %", "Boki"]);
    // The fixture makes six times 9 updates and 4 reads for who is not the baseline, and no scans.
    let writes = of("beldi-direct", "store writes").unwrap();
    assert_eq!(writes, ["54.00", "97.00", "-44.3 %", "Beldi"]);
    let scans = of("beldi-direct", "store scans").unwrap();
    assert_eq!(scans, ["0.000", "0.000", "+0.00", "Beldi"]);
    assert_eq!(of("beldi-direct", "log appends"), None);
    // What stands beside the published Beldi is the artifact's, not both.
    assert_eq!(of("beldi", "store writes"), None);
}

/// Requests that differ are expected by how many of each there were; a kind that nobody counted
/// leaves no expectation.
#[test]
fn a_mix_is_expected_by_its_requests() {
    let plans = [plan("boki", "compat-beldi-travel", 30.0)];
    let mixed = |kinds: [&str; 2]| {
        let kinds = kinds.map(str::to_string);
        let loaded = loaded(&plans, "ec2-2021", |run| {
            run.manifest.app = "travel".into();
            run.manifest.kinds = kinds.to_vec();
            run.manifest.effectful.clear();
            for op in &mut run.ops {
                op.kind = u16::from(op.index % 4 == 0);
            }
        });
        let answered = |kind| loaded.runs[0].summary.kinds[kind].all.answered() as f64;
        let (one, other) = (answered(&*kinds[0]), answered(&*kinds[1]));
        let work = beside::tables(&loaded).remove(1);
        let row = work.rows.into_iter().find(|row| row[1] == "log appends");
        (row.map(|row| row[3].clone()), one, other)
    };
    let (expected, searches, reservations) = mixed(["search", "reserve"]);
    let expected: f64 = expected.unwrap().parse().unwrap();
    let exact = (17.5 * searches + 37.0 * reservations) / (searches + reservations);
    assert!((expected - exact).abs() < 0.01, "{expected} and {exact}");
    assert_eq!(mixed(["search", "sign-up"]).0, None);
}
