//! The kit is tested with runtimes that are wrong in one way each: it must fail, and name the
//! requirement that is meant for the defect.

mod common;

use common::broken;
use std::rc::Rc;
use triptych_beldi::{Beldi, Bug, Config};
use triptych_conformance::{Depth, Requirement, check_one};
use triptych_faas::Deployment;
use triptych_site::{RuntimeEntry, Site};
use triptych_world::SECOND;

fn beldi(site: Site, bug: Bug) -> Rc<dyn Deployment> {
    let Site {
        world,
        store,
        platform,
        app,
        retries,
        ..
    } = site;
    let config = Config {
        bug: Some(bug),
        ..Config::paper(60 * SECOND, 60 * SECOND)
    };
    Rc::new(Beldi::new(world, store, platform, app, retries, config))
}

/// Whether a runtime that promises what Beldi does fails a requirement.
fn fails(deploy: fn(Site) -> Rc<dyn Deployment>, requirement: &str) -> bool {
    let entry = RuntimeEntry {
        name: "mutant",
        about: "wrong",
        declares: triptych_beldi::DECLARES,
        workflows: true,
        deploy,
    };
    let requirement = Requirement::find(requirement).expect("it exists");
    !check_one(&entry, Depth::Quick, requirement).kept()
}

#[test]
fn seeded_bugs_of_beldi_fail_the_requirement_that_is_meant_for_them() {
    type Mutant = (&'static str, fn(Site) -> Rc<dyn Deployment>);
    let mutants: [Mutant; 14] = [
        ("programs", |site| beldi(site, Bug::DropAppend)),
        ("replay-values", |site| beldi(site, Bug::SkipReadLog)),
        ("same-id", |site| beldi(site, Bug::AcceptLateDuplicate)),
        ("tx-own", |site| beldi(site, Bug::NoReadYourWrites)),
        ("tx-reject", |site| beldi(site, Bug::IgnoreAbort)),
        ("tx-reject", |site| beldi(site, Bug::WriteThrough)),
        ("tx-reject", |site| beldi(site, Bug::AbortKeepsLocks)),
        ("tx-own", |site| beldi(site, Bug::LockNotNoted)),
        ("tx-nested", |site| beldi(site, Bug::ForgetEarlierCallees)),
        ("tx-nested", |site| beldi(site, Bug::CommitSkipsFunction)),
        ("tx-sum", |site| beldi(site, Bug::NoReadLocks)),
        ("tx-lists", |site| beldi(site, Bug::ReleaseBeforeApply)),
        ("tx-sum", |site| beldi(site, Bug::CommitAppliesBlindly)),
        ("tx-crash", |site| beldi(site, Bug::StepsDependOnLog)),
    ];
    for (at, (meant, deploy)) in mutants.into_iter().enumerate() {
        assert!(fails(deploy, meant), "mutant {at} passes {meant}");
    }
}

#[test]
fn broken_copies_of_the_template_fail_the_requirement_that_is_meant_for_them() {
    let sound = broken(triptych_template::deploy);
    assert_eq!(sound, Vec::<&str>::new());
    let mutants = [
        ("crash-once", broken(common::effect_before_journal)),
        ("crash-once", broken(common::journal_not_checked)),
        ("sends", broken(common::call_not_recorded)),
        ("same-id", broken(common::fresh_ids)),
    ];
    for (meant, failed) in mutants {
        assert!(
            failed.contains(&meant),
            "meant for {meant}, failed {failed:?}"
        );
    }
}
