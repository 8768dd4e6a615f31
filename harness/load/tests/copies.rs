//! What every server of a cache has once nothing happens any more: it agrees, and a seeded defect that
//! keeps servers apart is seen.

use std::rc::Rc;
use triptych_faas::Deployment;
use triptych_hydrocache::{Bug, Config, Kind};
use triptych_load::campaign::Campaign;
use triptych_load::run::{Subject, Watch, run_subject};
use triptych_registry::Site;

const RUNTIMES: [&str; 7] = [
    "causalmesh",
    "causalmesh-tcc",
    "causalmesh-model",
    "hydrocache-con",
    "hydrocache-opt",
    "faastcc",
    "cache-none",
];

/// How many rows of copies were compared, and how many differ.
fn compared(
    runtime: &str,
    profile: &str,
    seeds: u64,
    deploy: Option<fn(Site) -> Rc<dyn Deployment>>,
) -> (u64, u64) {
    let small = triptych_workloads::find(profile).expect("exists").small();
    let small = small
        .iter()
        .map(|(key, value)| format!("{key} = {value:?}\n"));
    let text = format!(
        "name = \"copies\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [80]\n\
         duration = \"4s\"\nwarmup = \"0s\"\nseeds = 1\nrepetitions = {seeds}\n\
         [platform]\nshuffle = true\n[settings]\n{}",
        small.collect::<String>()
    );
    let campaign = Campaign::parse("copies", &text).expect("it is a campaign");
    let (mut examined, mut differ) = (0, 0);
    for cell in &campaign.cells() {
        let mut subject = Subject::of(&campaign, cell).expect("is known");
        subject.deploy = deploy.unwrap_or(subject.deploy);
        let run = run_subject(&campaign, cell, "", &Watch::default(), subject).expect("it ends");
        assert_eq!(run.verdict.stuck, None, "{runtime} {profile}");
        let rules = run.verdict.rules.iter();
        for rule in rules.filter(|rule| rule.rule == "C-diverged") {
            examined += rule.examined;
            differ += rule.violations;
        }
    }
    (examined, differ)
}

#[test]
fn the_servers_of_every_cache_agree_in_the_end() {
    for runtime in RUNTIMES {
        for profile in ["full-movie-causal", "full-social-causal"] {
            let (examined, differ) = compared(runtime, profile, 2, None);
            println!("{runtime} {profile}: {examined} compared");
            assert!(examined > 100, "{runtime} {profile}: {examined}");
            assert_eq!(differ, 0, "{runtime} {profile}");
        }
    }
}

/// What is not fetched again at once is never fetched again (specification §13, 18).
fn forgetful(site: Site) -> Rc<dyn Deployment> {
    let config = Config {
        batch: 1,
        bug: Some(Bug::LosesLeftovers),
        ..Config::default()
    };
    triptych_hydrocache::deploy(site, Kind::Optimistic, config, None)
}

#[test]
fn servers_that_stay_apart_are_seen() {
    let (runtime, profile) = ("hydrocache-opt", "full-social-causal");
    let (examined, differ) = compared(runtime, profile, 4, Some(forgetful));
    println!("{runtime} {profile}: {differ} of {examined}");
    assert!(differ > 0, "none of {examined}");
}
