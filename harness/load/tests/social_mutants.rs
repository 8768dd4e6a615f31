//! Seeded bugs of the social network, run as whole campaigns on Beldi with crashes: each is caught by
//! the rule that is meant for it, and the same runs without a bug are valid.

use std::collections::BTreeSet;
use triptych_load::campaign::Campaign;
use triptych_load::run::{Subject, Watch, run_subject};
use triptych_social::Defect;

/// Seeds that a bug may take to show.
const SEEDS: u64 = 4;

/// The rules that are violated over some seeds.
fn caught(formulation: &str, defect: Option<Defect>) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for seed in 1..=SEEDS {
        let text = format!(
            "name = \"mutants\"\nruntimes = [\"beldi\"]\nprofiles = [\"full-social-interactive\"]\n\
             rates = [40]\nduration = \"12s\"\nwarmup = \"0s\"\nseeds = {seed}\n\
             [faults]\ncrash_rate = 0.1\nduplicate_rate = 0.05\n[platform]\nshuffle = true\n\
             [settings]\nusers = 12\nsessions = 8\nchunk = 3\nformulation = \"{formulation}\"\n"
        );
        let campaign = Campaign::parse("mutants", &text).unwrap();
        let cells = campaign.cells();
        let cell = cells.last().unwrap();
        let mut subject = Subject::of(&campaign, cell).unwrap();
        let profile = campaign.profile(&cell.profile).unwrap();
        subject.app = triptych_social::app_with(&profile.settings, defect).unwrap();
        let output = run_subject(&campaign, cell, "", &Watch::default(), subject).unwrap();
        rules.extend(output.verdict.violated().into_iter().map(str::to_owned));
    }
    rules
}

#[test]
fn without_a_bug_everything_is_valid() {
    for formulation in ["async", "sync"] {
        assert_eq!(caught(formulation, None), BTreeSet::new(), "{formulation}");
    }
}

#[test]
fn every_bug_is_caught_by_the_rule_that_is_meant_for_it() {
    for (defect, formulation, meant) in [
        (Defect::SkipFollower, "async", "S4"),
        (Defect::ExposeFirst, "sync", "S8"),
        (Defect::FanOutTwice, "async", "S4"),
        (Defect::DropHandOff, "async", "S3"),
        (Defect::OneSidedFollow, "async", "S7"),
        (Defect::ReuseShortCode, "async", "S2"),
        (Defect::TellStranger, "async", "S4"),
        (Defect::StaleRead, "async", "S10"),
        (Defect::StaleFollowers, "async", "S11"),
    ] {
        let rules = caught(formulation, Some(defect));
        println!("{defect:?}: {rules:?}");
        assert!(
            rules.contains(meant),
            "{defect:?} is meant for {meant}, and caught by {rules:?}"
        );
    }
}
