//! The caches that CausalMesh is compared with, under every full and contended profile of all apps:
//! they run them, what they promise holds, and the same seed is the same run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_load::campaign::{Campaign, FaultRates};
use triptych_load::pool::{self, Cancel};
use triptych_load::run::{Watch, run};
use triptych_load::seeds::{Batch, BatchReport, all_profiles};
use triptych_model::Guarantee;

const RUNTIMES: [&str; 4] = ["hydrocache-con", "hydrocache-opt", "faastcc", "cache-none"];
const APPS: [&str; 3] = ["movie", "travel", "social"];

fn batch(runtime: &str, app: &str, count: u64) -> BatchReport {
    let profiles = all_profiles(runtime).into_iter();
    let profiles = profiles.filter(|name| name.contains(app)).collect();
    batch_of(runtime, profiles, count)
}

fn batch_of(runtime: &str, profiles: Vec<String>, count: u64) -> BatchReport {
    let app = profiles.join(" ");
    let batch = Batch {
        runtime: runtime.to_owned(),
        profiles,
        first: 1,
        count,
        rates: FaultRates::default(),
    };
    let report = batch.run(pool::cores(), &Arc::new(Cancel::default()), |_| ());
    let report = report.expect("its names are known");
    assert_eq!(report.done, count, "{runtime} {app}: {:?}", report.failed);
    report
}

/// The rules that are violated, with the guarantee that each speaks of.
fn violated(report: &BatchReport) -> BTreeMap<String, (Guarantee, String)> {
    let rules = report.rules.iter().filter(|rule| rule.violations > 0);
    rules
        .map(|rule| {
            let told = format!("{} times, e.g. {}", rule.violations, rule.witness);
            (rule.rule.clone(), (rule.guarantee, told))
        })
        .collect()
}

#[test]
fn every_app_runs_on_each_and_what_is_promised_holds() {
    let entries = triptych_registry::runtimes();
    let mut broken = BTreeMap::new();
    for runtime in RUNTIMES {
        let entry = entries.iter().find(|entry| entry.name == runtime);
        let declares = entry.expect("it is registered").declares;
        for app in APPS {
            let found = violated(&batch(runtime, app, 4));
            println!("{runtime} {app}: {:?}", found.keys().collect::<Vec<_>>());
            let promised = found
                .into_iter()
                .filter(|(_, (guarantee, _))| declares.promises(*guarantee));
            let promised: BTreeMap<_, _> = promised.collect();
            if !promised.is_empty() {
                broken.insert(format!("{runtime} {app}"), promised);
            }
        }
    }
    assert_eq!(broken, BTreeMap::new());
}

/// Where documents are only replaced, there is nothing to lose but order, and the causal ones keep it.
#[test]
fn what_is_only_replaced_is_seen_in_order_on_all_but_the_plain_one() {
    for runtime in RUNTIMES {
        let found = violated(&batch_of(runtime, vec!["micro-causal".to_owned()], 4));
        println!("{runtime} micro-causal: {found:?}");
        let ordered = found
            .values()
            .all(|(of, _)| !matches!(of, Guarantee::Order | Guarantee::Isolation));
        assert_eq!(ordered, runtime != "cache-none", "{runtime}: {found:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for runtime in RUNTIMES {
        let text = format!(
            "name = \"t\"\nruntimes = [\"{runtime}\"]\nprofiles = [\"full-movie\"]\nrates = [40]\n\
             duration = \"3s\"\nwarmup = \"0s\"\n[platform]\nshuffle = true\n\
             [settings]\nmovies = 20\nusers = 20\n"
        );
        let campaign = Campaign::parse("t.toml", &text).unwrap();
        let cell = &campaign.cells()[0];
        let once = || run(&campaign, cell, "none", &Watch::default()).unwrap();
        let (first, again) = (once(), once());
        assert_eq!(first.ops, again.ops, "{runtime}");
        assert_eq!((&first.work, &first.state), (&again.work, &again.state));
        assert_eq!(first.verdict, again.verdict);
        let named: BTreeSet<&str> = first.work.runtime.keys().map(String::as_str).collect();
        assert!(named.contains("cache reads"), "{runtime}: {named:?}");
    }
}
