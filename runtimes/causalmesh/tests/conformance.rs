//! CausalMesh keeps what it declares, in each variant and policy, also on a ring that fails; and
//! seeded defects fail the requirement that is meant for them.

use std::rc::Rc;
use triptych_api::Declares;
use triptych_cached::{Bug as Side, Policy};
use triptych_causalmesh::model::Conduct;
use triptych_causalmesh::{
    Bug, DECLARES, DECLARES_COMPAT, DECLARES_TCC, Variant, deploy, deploy_on_model,
    deploy_on_model_with,
};
use triptych_conformance::{Depth, Requirement, Status, check, check_one};
use triptych_faas::Deployment;
use triptych_site::{RuntimeEntry, Site};
use triptych_world::MS;

type Deploy = fn(Site) -> Rc<dyn Deployment>;

fn entry(declares: Declares, deploy: Deploy) -> RuntimeEntry {
    RuntimeEntry {
        name: "causalmesh",
        about: "under test",
        declares,
        workflows: true,
        deploy,
    }
}

/// Whether it keeps what it declares; and these it does not declare, and breaks.
fn keeps(declares: Declares, deploy: Deploy, broken: &[&str]) {
    let report = check(&entry(declares, deploy), Depth::Quick, |_| {});
    println!("{report}");
    assert!(report.kept(), "{report}");
    for name in broken {
        let status = report.status(name);
        let seen = matches!(status, Some(Status::Unsupported { seen: Some(_) }));
        assert!(seen, "{name}: {status:?}");
    }
}

#[test]
fn it_keeps_what_it_declares() {
    let not = [
        "crash-once",
        "sends",
        "same-id",
        "tx-reject",
        "tx-lists",
        "claims",
    ];
    keeps(
        DECLARES,
        |site| deploy_on_model(site, Variant::Causal, Policy::Random),
        &not,
    );
}

#[test]
fn it_keeps_that_wherever_functions_run() {
    keeps(
        DECLARES,
        |site| deploy_on_model(site, Variant::Causal, Policy::RoundRobin),
        &["claims"],
    );
    keeps(
        DECLARES,
        |site| deploy_on_model(site, Variant::Causal, Policy::Affinity),
        &["claims"],
    );
}

#[test]
fn with_transactions_it_keeps_that_too() {
    keeps(
        DECLARES_TCC,
        |site| deploy_on_model(site, Variant::Tcc, Policy::Random),
        &["crash-once", "tx-sum", "claims"],
    );
}

#[test]
fn where_the_last_writer_wins_updates_are_lost() {
    keeps(
        DECLARES_COMPAT,
        |site| deploy_on_model(site, Variant::LastWriterWins, Policy::Random),
        &["races", "session", "durable"],
    );
}

#[test]
fn it_keeps_that_on_the_ring_itself() {
    keeps(
        DECLARES,
        |site| deploy(site, Variant::Causal, Policy::Random),
        &["crash-once"],
    );
    keeps(
        DECLARES_TCC,
        |site| deploy(site, Variant::Tcc, Policy::Random),
        &["tx-sum"],
    );
    keeps(
        DECLARES_COMPAT,
        |site| deploy(site, Variant::LastWriterWins, Policy::Random),
        &["races"],
    );
}

/// Servers that turn requests away, or whose answers get lost.
#[test]
fn it_keeps_that_on_a_ring_that_fails() {
    fn failing() -> Conduct {
        Conduct {
            unavailable: 0.1,
            unknown: 0.1,
            ..Conduct::default()
        }
    }
    keeps(
        DECLARES,
        |site| deploy_on_model_with(site, Variant::Causal, Policy::Random, failing(), None),
        &[],
    );
    keeps(
        DECLARES_TCC,
        |site| deploy_on_model_with(site, Variant::Tcc, Policy::Random, failing(), None),
        &[],
    );
}

/// On a ring that is slower than clients are.
fn with(site: Site, variant: Variant, bug: Bug) -> Rc<dyn Deployment> {
    let conduct = Conduct {
        hop: 60 * MS,
        ..Conduct::default()
    };
    deploy_on_model_with(site, variant, Policy::Random, conduct, Some(bug))
}

/// The others are for `contexts.rs` and `transactions.rs`.
#[test]
fn seeded_bugs_fail_the_requirement_that_is_meant_for_them() {
    let causal: [(&str, Deploy); 4] = [
        ("calls", |site| {
            with(site, Variant::Causal, Bug::Cached(Side::SessionDropped))
        }),
        ("programs", |site| {
            with(site, Variant::Causal, Bug::Cached(Side::SessionIgnored))
        }),
        ("session", |site| {
            with(site, Variant::Causal, Bug::Cached(Side::SessionIgnored))
        }),
        ("programs", |site| {
            with(site, Variant::Causal, Bug::OwnForgotten)
        }),
    ];
    let tcc: [(&str, Deploy); 3] = [
        ("tx-own", |site| {
            with(site, Variant::Tcc, Bug::Cached(Side::ReplyLost))
        }),
        ("tx-own", |site| {
            with(site, Variant::Tcc, Bug::Cached(Side::CallWithoutContext))
        }),
        ("programs", |site| {
            with(site, Variant::Tcc, Bug::OwnForgotten)
        }),
    ];
    let causal = causal.map(|(meant, deploy)| (DECLARES, meant, deploy));
    let tcc = tcc.map(|(meant, deploy)| (DECLARES_TCC, meant, deploy));
    let mut passed = Vec::new();
    for (at, (declares, meant, deploy)) in causal.into_iter().chain(tcc).enumerate() {
        let requirement = Requirement::find(meant).expect("it exists");
        let report = check_one(&entry(declares, deploy), Depth::Quick, requirement);
        passed.extend(report.kept().then_some((at, meant)));
    }
    assert_eq!(passed, [], "these mutants pass what is meant for them");
}
