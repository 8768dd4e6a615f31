//! Seeded bugs of Beldi's transactions under the ledger's load: the history shows each of them, with
//! the phenomenon that its nature suggests, and nothing without a bug.

mod common;

use common::beldi;
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_beldi::Bug;
use triptych_load::campaign::Campaign;
use triptych_load::run::{Subject, Watch, run_subject};
use triptych_registry::Site;

/// Seeds that a bug may take to show.
const SEEDS: u64 = 6;

/// The rules of the history that are violated over some seeds.
fn shown(deploy: fn(Site) -> Rc<dyn triptych_faas::Deployment>) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for seed in 1..=SEEDS {
        let text = format!(
            "name = \"mutants\"\nruntimes = [\"beldi\"]\nprofiles = [\"hot-ledger\"]\nrates = [30]\n\
             duration = \"4s\"\nwarmup = \"0s\"\nseeds = {seed}\n[platform]\nshuffle = true\n\
             [faults]\ncrash_rate = 0.1\n\
             [settings]\nlists = 2\naccounts = 3\nsessions = 5\nrejects = 0.1\n"
        );
        let campaign = Campaign::parse("mutants", &text).expect("is a campaign");
        let cell = &campaign.cells()[0];
        let mut subject = Subject::of(&campaign, cell).expect("is known");
        subject.deploy = deploy;
        let output = run_subject(&campaign, cell, "", &Watch::default(), subject);
        let verdict = output.expect("has a result").verdict;
        rules.extend(verdict.violated().into_iter().map(str::to_owned));
    }
    rules
}

fn assert_shows(rules: &BTreeSet<String>, meant: &[&str]) {
    let any = meant.iter().any(|rule| rules.contains(*rule));
    assert!(any, "meant for one of {meant:?}, shown by {rules:?}");
}

#[test]
fn without_a_bug_nothing_is_shown() {
    assert_eq!(shown(|site| beldi(site, None)), BTreeSet::new());
}

#[test]
fn reads_without_locks_show_as_skew() {
    let rules = shown(|site| beldi(site, Some(Bug::NoReadLocks)));
    assert_shows(&rules, &["H-G2-item", "H-G-single"]);
}

#[test]
fn writes_that_are_visible_at_once_show_as_dirty() {
    let rules = shown(|site| beldi(site, Some(Bug::WriteThrough)));
    assert_shows(&rules, &["H-G1a", "H-G1b", "H-G0"]);
}

#[test]
fn an_abort_that_commits_shows_as_a_dirty_read() {
    let rules = shown(|site| beldi(site, Some(Bug::IgnoreAbort)));
    assert_shows(&rules, &["H-G1a"]);
}

#[test]
fn own_writes_that_are_not_seen_show_as_internal() {
    let rules = shown(|site| beldi(site, Some(Bug::NoReadYourWrites)));
    assert_shows(&rules, &["H-internal"]);
}
