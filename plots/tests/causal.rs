//! Figures of causal caches, of synthetic runs.

#[path = "../../results/tests/fixture/mod.rs"]
mod fixture;

use fixture::{Plan, Run};
use std::path::Path;
use triptych_plots::{figures, write_all};
use triptych_results::model::{Guarantee, RuleReport, Status, Value};
use triptych_results::{Loaded, RunBundle, Saturation};

const MESH: &str = "causalmesh";
const TCC: &str = "causalmesh-tcc";
const OPT: &str = "hydrocache-opt";

/// Runs on the latencies of the published platform, each changed as asked.
fn loaded(plans: &[Plan], name: &str, change: impl Fn(&mut Run)) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let mut all: Option<Loaded> = None;
    for plan in plans {
        let mut run = fixture::run(plan);
        run.manifest.latency_profile = "ec2-2021".into();
        run.manifest.app = "micro".into();
        change(&mut run);
        let dir = RunBundle::write(folder.path(), &run.data()).unwrap();
        let one = Loaded::bundle(&RunBundle::open(&dir).unwrap()).unwrap();
        match &mut all {
            Some(all) => all.runs.extend(one.runs),
            None => all = Some(one),
        }
    }
    let loaded = all.unwrap();
    keep(&loaded, name);
    loaded
}

/// For a look at the pictures: TRIPTYCH_KEEP_FIGURES=folder cargo test -p triptych-plots
fn keep(loaded: &Loaded, name: &str) {
    if let Ok(keep) = std::env::var("TRIPTYCH_KEEP_FIGURES") {
        write_all(loaded, &Path::new(&keep).join(name)).unwrap();
    }
}

fn svg(loaded: &Loaded, name: &str) -> Option<String> {
    let drawn = figures(loaded);
    let figure = drawn.iter().find(|figure| figure.name == name)?;
    Some(figure.svg().unwrap())
}

fn has(svg: &str, texts: &[&str]) {
    for text in texts {
        let escaped = text.replace('\'', "&apos;");
        assert!(svg.contains(text) || svg.contains(&escaped), "{text}");
    }
}

fn plan(runtime: &'static str, profile: &'static str, rate: f64, base_ms: f64) -> Plan {
    Plan {
        runtime,
        profile,
        rate,
        base_ms,
        capacity: 20_000.0,
        seconds: 4,
        ..Plan::default()
    }
}

const LENGTHS: [(&str, u32); 4] = [
    ("micro-causal-length-3", 3),
    ("micro-causal-length-5", 5),
    ("micro-causal-length-8", 8),
    ("micro-causal-length-10", 10),
];

fn number_at_the_end(profile: &str) -> u32 {
    let (_, number) = profile.rsplit_once('-').unwrap();
    number.parse().unwrap()
}

#[test]
fn chains_of_several_lengths_have_a_figure_with_what_was_published() {
    let plans: Vec<Plan> = LENGTHS
        .iter()
        .flat_map(|(profile, length)| {
            let long = f64::from(*length);
            [
                plan(MESH, profile, 100.0, 2.6 * long),
                plan(TCC, profile, 100.0, 3.4 * long),
                Plan {
                    status: Status::Unknown,
                    ..plan(OPT, profile, 100.0, 4.5 * long)
                },
            ]
        })
        .collect();
    let set = |run: &mut Run| {
        let length = number_at_the_end(&run.manifest.profile).to_string();
        let settings = &mut run.manifest.settings;
        settings.insert("profile.length".into(), length.into());
        settings.insert("platform.servers".into(), 3.into());
    };
    let all = loaded(&plans, "length", set);
    let name = "length-micro-causal-length";
    let drawn = svg(&all, name).expect("is there");
    has(
        &drawn,
        &[
            "functions of a chain",
            "response time per function, ms",
            "99th percentile",
            "CausalMesh-TCC",
            "at 100 requests/s",
            "one round of the ring",
            "unknown: not a result",
        ],
    );
    // A number of servers that is the same everywhere is no family, nor is a length.
    assert_eq!(svg(&all, "scaling-micro-causal-length"), None);
    let alone = loaded(&plans[..3], "length-alone", set);
    assert_eq!(svg(&alone, name), None);
}

#[test]
fn several_numbers_of_servers_have_a_figure_with_what_was_found() {
    let profiles = [
        "micro-causal-servers-2",
        "micro-causal-servers-4",
        "micro-causal-servers-8",
        "micro-causal-servers-16",
    ];
    let plans: Vec<Plan> = profiles
        .iter()
        .flat_map(|profile| [MESH, TCC].map(|runtime| plan(runtime, profile, 500.0, 9.0)))
        .collect();
    let set = |run: &mut Run| {
        let servers = number_at_the_end(&run.manifest.profile);
        let settings = &mut run.manifest.settings;
        settings.insert("profile.length".into(), "3".into());
        settings.insert("platform.servers".into(), servers.into());
    };
    let mut all = loaded(&plans, "servers-without-search", set);
    let name = "scaling-micro-causal-servers";
    let answered = svg(&all, name).expect("is there");
    has(
        &answered,
        &["nothing was searched for", "per server", "servers"],
    );
    all.saturation = plans
        .iter()
        .map(|plan| {
            let servers = f64::from(number_at_the_end(plan.profile));
            let each = if plan.runtime == MESH { 1_000.0 } else { 500.0 };
            Saturation {
                runtime: plan.runtime.into(),
                profile: plan.profile.into(),
                bound_ms: 60.0,
                highest_rate: Some(each * servers),
                tried: Vec::new(),
            }
        })
        .collect();
    keep(&all, "servers");
    let searched = svg(&all, name).expect("is there");
    has(
        &searched,
        &["stays within 60 ms", "CausalMesh-TCC", "is inferred"],
    );
    assert_ne!(answered, searched);
}

#[test]
fn contexts_and_workflows_that_start_again_have_a_figure() {
    let plans: Vec<Plan> = [1_000.0, 2_000.0, 4_000.0]
        .into_iter()
        .flat_map(|rate| [MESH, TCC, OPT, "cache-none"].map(|r| plan(r, "micro-causal", rate, 8.0)))
        .collect();
    let all = loaded(&plans, "context", |run| {
        let n = run.manifest.intended;
        let rate = run.manifest.rate as u64;
        let (bytes, aborts) = match &*run.manifest.runtime {
            MESH => (60, None),
            TCC => (75, Some(n / 100)),
            OPT => (400 + rate, Some(n * rate / 40_000)),
            _ => return,
        };
        let counters = &mut run.work.runtime;
        counters.insert("contexts".into(), 3 * n);
        counters.insert("context bytes".into(), 3 * n * bytes);
        counters.extend(aborts.map(|aborts| ("attempts aborted".to_owned(), aborts)));
    });
    let drawn = svg(&all, "context-micro-causal").expect("is there");
    has(
        &drawn,
        &[
            "bytes per message",
            "per 100 answered requests",
            "workflows started again",
            "offered rate, requests/s",
        ],
    );
    // The published latencies of these very requests are there, and those of others are not.
    let beside = svg(&all, "published-micro-causal").expect("is there");
    has(&beside, &["CausalMesh", "HydroCache-Opt", "exact values"]);
    let without = loaded(&plans[..2], "context-none", |run| {
        run.manifest.profile = "micro-causal-length-3".into();
    });
    assert_eq!(svg(&without, "context-micro-causal-length-3"), None);
    assert_eq!(svg(&without, "published-micro-causal-length-3"), None);
}

#[test]
fn the_time_until_a_write_is_seen_has_a_figure() {
    let plans: Vec<Plan> = [200.0, 1_000.0]
        .into_iter()
        .flat_map(|rate| [MESH, OPT].map(|runtime| plan(runtime, "micro-visibility", rate, 6.0)))
        .collect();
    let all = loaded(&plans, "visibility", |run| {
        let lag = if run.manifest.runtime == MESH { 8 } else { 70 } * 1_000_000;
        let mut published: Vec<(i64, u64)> = Vec::new();
        for op in &mut run.ops {
            op.kind = u16::from(op.index % 20 > 0);
            op.observed = if op.index.is_multiple_of(20) {
                let n = op.index as i64 / 20 + 1;
                published.push((n, op.done_ns));
                Value::map([("published", Value::Int(n))])
            } else {
                // Half of the looks go where it is seen later.
                let late = lag * (1 + op.index % 2);
                let mut seen = published.iter().rev();
                let seen = seen.find(|(_, done)| done + late <= op.sent_ns);
                Value::map([("saw", Value::Int(seen.map_or(0, |(n, _)| *n)))])
            };
            op.settled_ns = op.done_ns;
        }
    });
    let drawn = svg(&all, "visibility-micro-visibility").expect("is there");
    has(
        &drawn,
        &[
            "until somebody sees it",
            "until nobody misses it",
            "time since the acknowledgement, ms",
            "99th percentile",
        ],
    );
    for run in &all.runs {
        let seen = run.summary.visibility.as_ref().expect("was measured");
        let first = seen.first.p50.expect("was seen").value_ns;
        let everywhere = seen.everywhere.p50.expect("was seen").value_ns;
        assert!(first <= everywhere, "{first} {everywhere}");
        assert_eq!(seen.series.len() as u64, seen.published);
    }
}

#[test]
fn anomalies_by_kind_have_a_figure_that_tells_none_from_few() {
    let runtimes = [MESH, TCC, OPT, "cache-none"];
    let plans: Vec<Plan> = runtimes
        .map(|runtime| plan(runtime, "full-social-causal", 200.0, 6.0))
        .to_vec();
    let all = loaded(&plans, "anomalies", |run| {
        let plain = run.manifest.runtime == "cache-none";
        let rule = |rule: &str, guarantee, violations| RuleReport {
            examined: 20_000,
            violations,
            ..RuleReport::new(rule, guarantee)
        };
        run.verdict.coverage.looks = 25_000;
        run.verdict.rules.extend([
            rule(
                "C-read-your-writes",
                Guarantee::Order,
                if plain { 28 } else { 0 },
            ),
            rule(
                "C-monotonic-reads",
                Guarantee::Order,
                if plain { 82 } else { 0 },
            ),
            rule("C-lost", Guarantee::Durability, 0),
        ]);
    });
    let anomalies = all.runs[3]
        .summary
        .anomalies
        .as_ref()
        .expect("were counted");
    let each = anomalies.kind("monotonic-reads").expect("was examined");
    assert_eq!(each.per_million_reads, Some(3_280.0));
    let drawn = svg(&all, "anomalies-full-social-causal").expect("is there");
    has(
        &drawn,
        &[
            "anomalies per million reads",
            "monotonic-reads",
            "read-your-writes",
            "lost",
            "cache-none",
            "reads examined: causalmesh 25,000",
            ">\n0\n<",
        ],
    );
    let tables = triptych_results::anomalies::tables(&all);
    let text = tables[0].plain(100);
    has(
        &text,
        &[
            "Anomalies per million reads: full-social-causal",
            "25,000",
            "1,120",
        ],
    );
    let without = loaded(&plans[..1], "anomalies-none", |_| ());
    assert_eq!(svg(&without, "anomalies-full-social-causal"), None);
    assert!(triptych_results::anomalies::tables(&without).is_empty());
}
