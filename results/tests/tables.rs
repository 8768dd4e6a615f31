//! Summaries and tables of synthetic runs.

mod fixture;

use fixture::{Plan, matrix, run, unsafe_verdict};
use triptych_results::model::{Outcome, Status};
use triptych_results::{Manifest, Summary, points, summarise, table};

fn summary(run: &fixture::Run) -> Summary {
    summarise(&run.manifest, &run.ops, &run.work, &run.verdict).unwrap()
}

fn runs(plans: &[Plan]) -> Vec<(Manifest, Summary)> {
    plans
        .iter()
        .map(run)
        .map(|run| (run.manifest.clone(), summary(&run)))
        .collect()
}

fn shown(runs: &[(Manifest, Summary)]) -> String {
    table::table(&points(runs.iter().map(|(m, s)| (m, s))))
}

#[test]
fn a_table_is_narrow_and_labelled() {
    let table = shown(&runs(&matrix()));
    println!("{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    assert!(table.contains("simulated") && table.contains("ms") && table.contains("req/s"));
    assert!(table.contains("median of 3 runs"), "{table}");
    assert!(table.contains("unknown"), "{table}");
}

#[test]
fn broken_promises_and_unsafe_baselines_read_differently() {
    let plan = Plan {
        seconds: 4,
        status: Status::Invalid,
        ..Plan::default()
    };
    let mut broken = run(&plan);
    let table = shown(&[(broken.manifest.clone(), summary(&broken))]);
    assert!(table.contains("BROKEN M4"), "{table}");
    broken.verdict = unsafe_verdict();
    let table = shown(&[(broken.manifest.clone(), summary(&broken))]);
    assert!(
        table.contains("invalid M4") && !table.contains("BROKEN"),
        "{table}"
    );
    assert_eq!(shown(&[]), "no complete runs\n");
}

/// The stall of H6: an open loop of 1,000 requests per second, 1 ms each, frozen twice for a
/// second. Counted from the intended start, the freeze is in the percentiles; from the actual one
/// it would not be.
#[test]
fn a_stall_shows_in_response_and_not_in_service() {
    let mut run = run(&Plan {
        rate: 1_000.0,
        ..Plan::default()
    });
    let template = run.ops[0].clone();
    let second = 1_000_000_000u64;
    run.manifest.duration_ns = 100 * second;
    run.manifest.warmup_ns = 0;
    run.manifest.intended = 100_000;
    run.ops = (0..100_000u64)
        .map(|index| {
            let intended_ns = index * 1_000_000;
            let freeze = [30 * second, 60 * second]
                .into_iter()
                .find(|from| (*from..from + second).contains(&intended_ns));
            let sent_ns = freeze.map_or(intended_ns, |from| from + second);
            let (done_ns, outcome) = (sent_ns + 1_000_000, Outcome::Ok);
            triptych_results::model::OpRecord {
                index,
                intended_ns,
                sent_ns,
                done_ns,
                outcome,
                settled_ns: 0,
                ..template.clone()
            }
        })
        .collect();
    let overall = summary(&run).overall;
    let ms = |quantile: Option<triptych_results::Quantile>| {
        let quantile = quantile.unwrap();
        assert!(quantile.supported);
        quantile.value_ns as f64 / 1e6
    };
    assert!(
        (ms(overall.response.p99) - 501.0).abs() < 10.0,
        "{overall:?}"
    );
    assert!(
        (ms(overall.response.p99_9) - 951.0).abs() < 19.0,
        "{overall:?}"
    );
    assert!((ms(overall.service.p99) - 1.0).abs() < 0.01, "{overall:?}");
    assert!(
        (ms(overall.waiting.p99) - 500.0).abs() < 10.0,
        "{overall:?}"
    );
    assert!(overall.response.max_ns.unwrap() <= 1_010_000_000);
}

#[test]
fn warm_up_is_not_measured_but_counted() {
    let mut run = run(&Plan::default());
    run.ops
        .iter_mut()
        .filter(|op| op.intended_ns < run.manifest.warmup_ns)
        .for_each(|op| {
            op.done_ns = op.intended_ns + 599_000_000_000;
        });
    let summary = summary(&run);
    assert!(summary.overall.response.max_ns.unwrap() < 10_000_000_000);
    assert_eq!(summary.overall.all.intended, run.manifest.intended);
    assert!(summary.overall.measured.intended < run.manifest.intended);
    let kinds: u64 = summary.kinds.values().map(|kind| kind.all.intended).sum();
    assert_eq!(kinds, summary.overall.all.intended);
    let offered: u64 = summary
        .timeline
        .iter()
        .map(|interval| interval.offered)
        .sum();
    assert_eq!(offered, run.manifest.intended);
    assert!(summary.kinds["compose"].settled.is_some());
    assert!(summary.kinds["read-page"].settled.is_none());
}

#[test]
fn falling_behind_is_flagged() {
    let mut run = run(&Plan::default());
    run.ops
        .iter_mut()
        .for_each(|op| op.done_ns += op.intended_ns / 5);
    let summary = summary(&run);
    assert!(
        summary
            .flags
            .iter()
            .any(|flag| flag.starts_with("fell behind")),
        "{:?}",
        summary.flags
    );
}
