//! BokiFlow keeps what it declares, also on a log that fails; and each of its seeded defects fails the
//! requirement that is meant for it.

use std::rc::Rc;
use triptych_boki::{Bug, deploy_on_model_log, deploy_on_model_log_with};
use triptych_conformance::{Depth, REQUIREMENTS, Requirement, Status, check, check_one};
use triptych_faas::Deployment;
use triptych_log::Conduct;
use triptych_site::{RuntimeEntry, Site};

type Deploy = fn(Site) -> Rc<dyn Deployment>;

fn entry(deploy: Deploy) -> RuntimeEntry {
    RuntimeEntry {
        name: "boki",
        about: "under test",
        declares: triptych_boki::DECLARES,
        workflows: true,
        deploy,
    }
}

fn keeps_everything(deploy: Deploy) {
    let report = check(&entry(deploy), Depth::Quick, |_| {});
    println!("{report}");
    assert!(report.kept(), "{report}");
    let passed = report.lines.iter();
    let passed = passed.filter(|line| line.status == Status::Passed);
    assert_eq!(passed.count(), REQUIREMENTS.len(), "{report}");
}

#[test]
fn it_keeps_what_it_declares() {
    keeps_everything(deploy_on_model_log);
}

/// A log whose appends end in doubt, or are turned away, and whose reads are as old as they may be.
#[test]
fn it_keeps_that_on_a_log_that_fails() {
    keeps_everything(|site| {
        let conduct = Conduct {
            stale: 0.8,
            unknown: 0.1,
            unavailable: 0.05,
            ..Conduct::default()
        };
        deploy_on_model_log_with(site, conduct, None)
    });
}

fn with(site: Site, bug: Bug) -> Rc<dyn Deployment> {
    deploy_on_model_log_with(site, Conduct::default(), Some(bug))
}

/// Calls that are sent before the commit are for `sends.rs`, and events that see less of the log than
/// who sent them for `progress.rs`.
#[test]
fn seeded_bugs_fail_the_requirement_that_is_meant_for_them() {
    let mutants: [(&str, Deploy); 18] = [
        ("duplicate", |site| with(site, Bug::LastRecordWins)),
        ("crash-once", |site| with(site, Bug::SkipReadLog)),
        ("replay-values", |site| with(site, Bug::FreshNotLogged)),
        ("races", |site| with(site, Bug::VersionLessThan)),
        ("crash-once", |site| with(site, Bug::NoPostRecovery)),
        ("same-id", |site| with(site, Bug::AcceptLateDuplicate)),
        ("crash-once", |site| with(site, Bug::FinishBeforeResult)),
        ("sends", |site| with(site, Bug::RegisterAfterDispatch)),
        ("sends", |site| with(site, Bug::FreshCallees)),
        ("crash-once", |site| with(site, Bug::RestartUnderNewId)),
        ("same-id", |site| with(site, Bug::CollectorIgnoresT)),
        ("tx-crash", |site| with(site, Bug::LocksOutsideSteps)),
        ("tx-sum", |site| with(site, Bug::UnlockOnlyWritten)),
        ("tx-sum", |site| with(site, Bug::NoReadLocks)),
        ("tx-own", |site| with(site, Bug::NoReadYourWrites)),
        ("tx-reject", |site| with(site, Bug::ApplyBeforeDecision)),
        ("tx-lists", |site| with(site, Bug::ReleaseBeforeApply)),
        ("tx-nested", |site| with(site, Bug::ForgetParticipant)),
    ];
    for (at, (meant, deploy)) in mutants.into_iter().enumerate() {
        let requirement = Requirement::find(meant).expect("it exists");
        let report = check_one(&entry(deploy), Depth::Quick, requirement);
        assert!(!report.kept(), "mutant {at} passes {meant}");
    }
}
