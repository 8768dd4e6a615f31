//! Our runs beside published numbers: latencies, how many times as long one runtime takes as
//! another, and the work per request. Only runs on the latency profile of the published platform are
//! compared, and only work of the same requests.

use crate::aggregate::{LatencyPoint, Point};
use crate::format::{plain, significant};
use crate::grid::Grid;
use crate::loaded::{Loaded, LoadedRun};
use crate::published::{Published, PublishedPoint, PublishedWork, RequestWork, Series};
use crate::table;
use std::collections::{BTreeMap, BTreeSet};
use triptych_model::Status;

/// Marks a number that the simulation's latencies were fitted on.
const IN_SAMPLE: &str = "°";
/// Stands for a number that is not there.
const NONE: &str = "–";

/// The sources whose numbers may stand beside some points of one profile.
pub fn sources(group: &[Point]) -> Vec<&'static Published> {
    let Some(first) = group.first() else {
        return Vec::new();
    };
    // A source of which nothing runs here, and which only other requests to the app could stand
    // beside, would fill figures with strangers.
    let ours: BTreeSet<&str> = group.iter().map(|point| &*point.runtime).collect();
    let fits = |published: &&Published| {
        let mut series = published.fitting(&first.app, &first.profile);
        let concerns = |one: &Series| {
            one.workload == first.profile || ours.iter().any(|runtime| one.belongs_to(runtime))
        };
        first.simulated
            && published.latency_profile == first.latency_profile
            && series.any(concerns)
    };
    Published::shipped().iter().filter(fits).collect()
}

/// Where points come from, as captions say it: `simulated; published points: …`.
pub fn caption(sources: &[&Published]) -> String {
    let titles: Vec<&str> = sources.iter().map(|source| &*source.title).collect();
    format!("simulated; published points: {}", titles.join(" and "))
}

/// What a reader must know of published points that stand beside some of ours.
pub fn caveats(group: &[Point], sources: &[&Published]) -> Vec<String> {
    let Some(first) = group.first() else {
        return Vec::new();
    };
    let mut told: Vec<String> = Vec::new();
    let series = || {
        let all = sources.iter();
        all.flat_map(|source| source.fitting(&first.app, &first.profile))
    };
    if let Some(other) = series().find(|series| series.workload != first.profile) {
        told.push(format!(
            "The published requests are those of {}; here others are asked.",
            other.workload
        ));
    }
    told.extend(series().filter_map(|series| series.caveat.clone()));
    for source in sources {
        let sureness = source.sureness.iter();
        told.extend(sureness.map(|sure| format!("{}: {sure}.", source.title)));
    }
    let all = sources.iter().flat_map(|source| source.caveats.iter());
    told.extend(all.cloned());
    told
}

/// Every table of a campaign: per profile with published numbers the latencies, and where the
/// requests are the published ones, the work.
pub fn tables(loaded: &Loaded) -> Vec<Grid> {
    let points = loaded.points();
    let mut tables = Vec::new();
    let same = |a: &Point, b: &Point| {
        (&a.profile, &a.latency_profile, &a.price_sheet, a.simulated)
            == (&b.profile, &b.latency_profile, &b.price_sheet, b.simulated)
    };
    for group in points.chunk_by(same) {
        let sources = sources(group);
        if !sources.is_empty() {
            tables.push(latencies(group, &sources));
            tables.extend(PublishedWork::shipped().iter().filter_map(|published| {
                let table = work(loaded, group, published);
                (!table.rows.is_empty()).then_some(table)
            }));
        }
    }
    tables
}

/// What is published of a runtime at a rate, and of the one it is compared with.
#[derive(Clone, Copy, Default)]
struct Reference<'a> {
    own: Option<&'a PublishedPoint>,
    other: Option<&'a PublishedPoint>,
    title: &'a str,
}

fn latencies(group: &[Point], sources: &[&Published]) -> Grid {
    let first = &group[0];
    let ours: BTreeSet<&str> = group.iter().map(|point| &*point.runtime).collect();
    let series: Vec<(&Published, &Series)> = sources
        .iter()
        .flat_map(|source| {
            let fitting = source.fitting(&first.app, &first.profile);
            fitting.map(move |one| (*source, one))
        })
        .collect();
    // Our runtimes in the campaign's order, then published systems that none of them is.
    let mut runtimes: Vec<&str> = group.iter().map(|point| &*point.runtime).collect();
    runtimes.extend(series.iter().map(|(_, one)| one.beside(&ours)));
    let mut seen = BTreeSet::new();
    runtimes.retain(|runtime| seen.insert(*runtime));
    let mut rates: Vec<f64> = group.iter().map(|point| point.rate).collect();
    let published = series.iter().flat_map(|(_, one)| one.points());
    rates.extend(published.map(|point| point.rate));
    rates.sort_by(f64::total_cmp);
    rates.dedup();

    let reference = &*sources[0].reference;
    let at = |runtime: &str, rate: f64| {
        let mut all = group.iter();
        all.find(|point| point.runtime == runtime && point.rate == rate)
    };
    let known = |runtime: &str, rate: f64| {
        let found = series.iter().find_map(|(source, one)| {
            let own = (one.beside(&ours) == runtime).then(|| one.at(rate))?;
            let mut others = source.fitting(&first.app, &first.profile);
            let other = others.find(|other| other.belongs_to(reference) && runtime != reference);
            Some(Reference {
                own: Some(own?),
                other: other.and_then(|other| other.at(rate)),
                title: &source.title,
            })
        });
        found.unwrap_or_default()
    };
    let mut origins: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut rows = Vec::new();
    for rate in rates {
        for runtime in &runtimes {
            let (point, published) = (at(runtime, rate), known(runtime, rate));
            if point.is_none() && published.own.is_none() {
                continue;
            }
            if published.own.is_some() {
                let rates = origins.entry(published.title).or_default();
                if rates.last() != Some(&rate) {
                    rates.push(rate);
                }
            }
            let other = (*runtime != reference).then(|| at(reference, rate));
            rows.push(row(rate, runtime, point, other.flatten(), published));
        }
    }
    let mut notes = notes(&rows, &origins);
    notes.extend(caveats(group, sources));
    let head = |text: &str| text.replace("REF", reference);
    Grid {
        title: format!(
            "{} on {}, ms, beside published numbers ({})",
            first.profile, first.latency_profile, first.time_label
        ),
        head: [
            "req/s", "runtime", "p50", "publ.", "p99", "publ.", "p50/REF", "publ.", "p99/REF",
            "publ.", "verdict",
        ]
        .map(head)
        .to_vec(),
        rows,
        words: 2,
        numbers_to_the_end: false,
        notes,
    }
}

fn row(
    rate: f64,
    runtime: &str,
    point: Option<&Point>,
    other: Option<&Point>,
    published: Reference<'_>,
) -> Vec<String> {
    let quantile = |of: fn(&Point) -> Option<LatencyPoint>| {
        let both = point.and_then(of).zip(other.and_then(of));
        let ratio = both.map(|(own, other)| own.ms.median / other.ms.median);
        // A ratio is no better than the worse of the two numbers.
        let stand = [point, other]
            .iter()
            .flatten()
            .all(|point| point.standing == Status::Valid);
        let ratio = ratio.map_or(NONE.into(), |ratio| {
            let ratio = significant(ratio, 3);
            if stand { ratio } else { format!("({ratio})") }
        });
        (table::latency(point.and_then(of)), ratio)
    };
    let reported = |of: fn(&PublishedPoint) -> Option<f64>| {
        let ms = published.own.and_then(|own| Some((own, of(own)?)));
        let text = ms.map_or(NONE.into(), |(own, ms)| {
            let mark = if own.in_sample { IN_SAMPLE } else { "" };
            // As it was printed there.
            format!("{}{mark}", plain(ms))
        });
        let other = published.other.and_then(of);
        let ratio = ms.zip(other).map(|((_, ms), other)| ms / other);
        (
            text,
            ratio.map_or(NONE.into(), |ratio| significant(ratio, 3)),
        )
    };
    let (p50, p50_ratio) = quantile(|point| point.p50);
    let (p99, p99_ratio) = quantile(|point| point.p99);
    let (own_p50, own_p50_ratio) = reported(|point| Some(point.p50_ms));
    let (own_p99, own_p99_ratio) = reported(|point| point.p99_ms);
    vec![
        plain(rate),
        runtime.to_string(),
        p50,
        own_p50,
        p99,
        own_p99,
        p50_ratio,
        own_p50_ratio,
        p99_ratio,
        own_p99_ratio,
        point.map_or("not run".into(), table::verdict),
    ]
}

fn notes(rows: &[Vec<String>], origins: &BTreeMap<&str, Vec<f64>>) -> Vec<String> {
    let mut notes = Vec::new();
    let mut has = |text: &str, note: &str| {
        if rows.iter().flatten().any(|cell| cell.contains(text)) {
            notes.push(format!("{text} {note}"));
        }
    };
    has(
        IN_SAMPLE,
        "in-sample: latencies that are simulated here were fitted on it, so nearness says little.",
    );
    has("~", "fewer than 100 requests lie beyond this quantile.");
    has(
        "≥",
        "so many requests were never answered that only a lower bound is known.",
    );
    if rows.iter().flatten().any(|cell| cell.starts_with('(')) {
        notes.push("(…): one of the two has no valid verdict.".into());
    }
    for (title, rates) in origins {
        let rates: Vec<String> = rates.iter().map(|rate| plain(*rate)).collect();
        notes.push(format!("At {} requests/s: {title}.", rates.join(", ")));
    }
    notes
}

/// The work per request of one run per runtime, at its highest rate, beside the published.
fn work(loaded: &Loaded, group: &[Point], published: &PublishedWork) -> Grid {
    let requests: Vec<&RequestWork> = published.of_workload(&group[0].profile).collect();
    let ours: BTreeSet<&str> = group.iter().map(|point| &*point.runtime).collect();
    let mut rows = Vec::new();
    let mut until_reply = false;
    for points in group.chunk_by(|a, b| a.runtime == b.runtime) {
        let highest = &points[points.len() - 1];
        let Some(run) = run_of(loaded, highest) else {
            continue;
        };
        // The requests of the system that this runtime stands for.
        let stands_for = |request: &&&RequestWork| {
            let there = request.beside.iter().find(|name| ours.contains(&***name));
            there.is_some_and(|name| *name == highest.runtime)
        };
        let own: Vec<&RequestWork> = requests.iter().filter(stands_for).copied().collect();
        for (name, counters) in &published.counters {
            let counted = counted(run, counters);
            let said = expected(run, &own, name);
            if own.is_empty() || counted.is_none() && said.is_none() {
                continue;
            }
            until_reply |= said.is_some() && own.iter().any(|request| request.until_reply);
            let difference = counted.zip(said).map_or(NONE.to_string(), |(own, said)| {
                if said == 0.0 {
                    format!("{:+.2}", own - said)
                } else {
                    format!("{:+.1} %", (own / said - 1.0) * 100.0)
                }
            });
            let number = |value: Option<f64>| value.map_or(NONE.into(), |v| significant(v, 4));
            rows.push(vec![
                highest.runtime.clone(),
                name.clone(),
                number(counted),
                number(said),
                difference,
                own[0].system.clone(),
            ]);
        }
    }
    let mut notes = vec![
        "Counted: all work of the run at the highest rate, collectors included, per answered request."
            .to_string(),
        "Expected: what each kind of request does in the published code, by how many of each the run \
         answered."
            .to_string(),
    ];
    if until_reply {
        notes.push(
            "Of some kinds only what happens until the reply is known; what follows is not in it."
                .into(),
        );
    }
    let head = [
        "runtime",
        "per request",
        "counted",
        "expected",
        "difference",
        "expected of",
    ];
    Grid {
        title: format!(
            "{}: work beside that of {}",
            group[0].profile, published.title
        ),
        head: head.map(str::to_string).to_vec(),
        rows,
        words: 2,
        numbers_to_the_end: false,
        notes,
    }
}

fn run_of<'a>(loaded: &'a Loaded, point: &Point) -> Option<&'a LoadedRun> {
    let first = point.runs.first()?;
    loaded.runs.iter().find(|run| run.manifest.run_id == *first)
}

/// The sum of some counters; nothing if the run has none of them.
fn counted(run: &LoadedRun, counters: &[String]) -> Option<f64> {
    let each = &run.summary.work_per_request;
    let there: Vec<f64> = counters
        .iter()
        .filter_map(|name| each.get(name).copied())
        .collect();
    // A store call that was never made has no counter, but somebody counts.
    let store = counters
        .iter()
        .any(|name| name.starts_with("store calls: "));
    (!there.is_empty() || store).then(|| there.iter().fold(0.0, |sum, one| sum + one))
}

/// What requests like those of the run do on average; nothing if it is not known of some kind.
fn expected(run: &LoadedRun, requests: &[&RequestWork], name: &str) -> Option<f64> {
    let (mut sum, mut answered) = (0.0, 0);
    for (kind, measured) in &run.summary.kinds {
        let count = measured.all.answered();
        if count > 0 {
            let request = requests.iter().find(|request| request.kind == *kind)?;
            sum += request.counts.get(name)? * count as f64;
            answered += count;
        }
    }
    (answered > 0).then(|| sum / answered as f64)
}
