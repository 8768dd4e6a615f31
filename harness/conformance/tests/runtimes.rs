//! Every registered runtime keeps what it declares, and what it does not declare is not hidden.

use triptych_conformance::{Depth, REQUIREMENTS, Status, check};

#[test]
fn every_registered_runtime_keeps_what_it_declares() {
    for entry in triptych_registry::runtimes() {
        let report = check(&entry, Depth::Quick, |_| {});
        println!("{}\n{report}", entry.name);
        assert!(report.kept(), "{}\n{report}", entry.name);
        assert_eq!(report.lines.len(), REQUIREMENTS.len(), "{}", entry.name);
        for line in &report.lines {
            assert!(line.examined > 0, "{}: {line:?}", entry.name);
        }
        if entry.declares.exactly_once {
            let kinds = report.points.keys().map(|(_, kind)| kind);
            let kinds: std::collections::BTreeSet<_> = kinds.collect();
            assert_eq!(kinds.len(), 5, "{}: {kinds:?}", entry.name);
        }
    }
}

/// What a runtime does not promise is tried all the same, and told as data.
#[test]
fn the_baseline_passes_what_it_declares_and_no_more() {
    let entry = triptych_registry::runtime("baseline").unwrap();
    let report = check(&entry, Depth::Quick, |_| {});
    for broken in [
        "crash-once",
        "sends",
        "same-id",
        "replay-values",
        "tx-sum",
        "tx-reject",
    ] {
        let status = report.status(broken);
        assert!(
            matches!(status, Some(Status::Unsupported { seen: Some(_) })),
            "{broken}: {status:?}"
        );
    }
    for kept in [
        "programs", "races", "outcomes", "session", "listed", "durable",
    ] {
        assert_eq!(report.status(kept), Some(&Status::Passed), "{kept}");
    }
}
