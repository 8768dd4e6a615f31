//! What is taken, reported, and asked for.

use super::*;

#[test]
fn a_report_comes_at_once_and_then_not_before_its_time() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..3);
    assert_eq!(rig.reported(), Some(vec![(E0, 3)]));
    rig.replicate(E0, 3..5);
    rig.replicate(E1, 0..1);
    assert_eq!(rig.reported(), None);
    rig.pass(rig.config.timing.report_every);
    assert_eq!(rig.reported(), Some(vec![(E0, 5), (E1, 1)]));
    // A cut reflects it: there is nothing to be said again.
    rig.commit(&[cut(0, 0, [0, 0], [5, 1])]);
    rig.pass(100 * MS);
    assert_eq!(rig.reported(), None);
}

#[test]
fn a_report_is_repeated_until_a_cut_reflects_it() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..3);
    rig.sent();
    for _ in 0..3 {
        rig.pass(2 * rig.config.timing.again_after);
        assert_eq!(rig.reported(), Some(vec![(E0, 3)]));
    }
    rig.commit(&[cut(0, 0, [0, 0], [2, 0])]);
    rig.pass(2 * rig.config.timing.again_after);
    let asked = Message::FetchEntries {
        term: TERM,
        from: 1,
    };
    let sent = rig.sent();
    assert!(
        sent.contains(&(PRIMARY.into(), asked)),
        "the cut may be lost: {sent:?}"
    );
    assert!(sent.iter().any(|(_, message)| message.kind() == "stored"));
}

#[test]
fn on_ticks_reports_leave_only_at_multiples() {
    let mut config = config(Level::Memory);
    (config.timing.on_ticks, config.timing.report_every) = (true, MS);
    let mut rig = Rig::with(config, None);
    rig.views(vec![first_view(1)]);
    rig.pass(MS / 2);
    rig.replicate(E0, 0..3);
    assert_eq!(rig.reported(), None);
    rig.pass(MS / 2);
    assert_eq!((rig.now, rig.reported()), (MS, Some(vec![(E0, 3)])));
}

#[test]
fn only_the_gap_free_prefix_is_reported() {
    for (bug, reported) in [(None, 2), (Some(Bug::ReportGaps), 6)] {
        let mut rig = Rig::member(Level::Memory, bug);
        rig.replicate(E0, [0, 1, 3, 5]);
        assert_eq!(rig.reported(), Some(vec![(E0, reported)]), "{bug:?}");
    }
}

#[test]
fn synced_means_that_the_disk_has_it() {
    for (bug, early) in [
        (None, None),
        (Some(Bug::ReportBeforeSync), Some(vec![(E0, 3)])),
    ] {
        let mut rig = Rig::member(Level::Synced, bug);
        rig.replicate(E0, 0..3);
        assert_eq!(rig.reported(), early, "{bug:?}");
        rig.replicate(E0, 3..9);
        rig.sync();
        rig.pass(MS);
        rig.sync();
        rig.pass(MS);
        assert_eq!(rig.reported(), Some(vec![(E0, 9)]), "{bug:?}");
    }
}

#[test]
fn while_the_disk_syncs_further_records_wait_to_be_synced_together() {
    let mut rig = Rig::member(Level::Synced, None);
    let before = rig.persists;
    (0..50).for_each(|local| rig.replicate(E0, [local]));
    assert_eq!(rig.persists - before, 1);
    rig.sync();
    assert_eq!(rig.persists - before, 2);
    assert_eq!(rig.reported(), Some(vec![(E0, 1)]));
    rig.sync();
    rig.pass(MS);
    assert_eq!(rig.reported(), Some(vec![(E0, 50)]));
    assert_eq!(rig.synced.count(b"r"), 50);
}

#[test]
fn a_gap_is_asked_for_when_it_lasts_or_is_shown_twice() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, [0, 3]);
    assert_eq!(rig.fetches(), []);
    rig.replicate(E0, [4]);
    assert_eq!(rig.fetches(), [(E0.into(), E0, 1, 3)]);
    // Who does not answer is not asked again: the next one is.
    rig.pass(2 * rig.config.timing.again_after);
    assert_eq!(rig.fetches()[0], (OTHERS[0].into(), E0, 1, 3));
    rig.replicate(E0, 1..3);
    rig.pass(100 * MS);
    assert_eq!(rig.fetches(), []);

    rig.replicate(E1, [1]);
    rig.pass(2 * rig.config.timing.again_after);
    assert_eq!(rig.fetches()[0], (E1.into(), E1, 0, 1));
}

#[test]
fn nobody_fills_the_memory() {
    let mut config = config(Level::Memory);
    config.limits.pending_bytes = 1000;
    let mut rig = Rig::with(config, None);
    rig.views(vec![first_view(1)]);
    rig.replicate(E0, 1..1000);
    let pending = rig.gauge("pending_bytes");
    assert!((1900..=2000).contains(&pending), "{pending}");
    assert!(rig.gauge("not_accepted") > 900);
    rig.replicate(E0, [0, u32::MAX, u32::MAX - 1, 1 << 31, 1 << 30]);
    let seen = rig.gauge("records") as u32;
    assert_eq!(
        rig.reported(),
        Some(vec![(E0, seen)]),
        "what closes the gap is taken"
    );
    // What is ordered makes room; what comes again is taken.
    rig.commit(&[cut(0, 0, [0, 0], [seen, 0])]);
    rig.replicate(E0, seen..seen + 10);
    rig.pass(MS);
    assert_eq!(rig.reported(), Some(vec![(E0, seen + 10)]));
}

#[test]
fn messages_of_unknown_views_are_dropped_and_the_controllers_asked() {
    let mut rig = Rig::new(Level::Memory, None);
    rig.replicate(E0, 0..3);
    let sent = rig.sent();
    assert!(
        matches!(sent[..], [(_, Message::Alive { view: 0, .. })]),
        "{sent:?}"
    );
    rig.replicate(E0, 0..3);
    assert_eq!(rig.sent(), [], "not too often");
    rig.views(vec![first_view(1)]);
    rig.replicate(E0, 1..3);
    assert_eq!((rig.gauge("records"), rig.reported()), (2, None));
}

#[test]
fn another_life_of_the_node_is_not_a_member() {
    let mut rig = Rig::new(Level::Memory, None);
    rig.views(vec![first_view(2)]);
    rig.replicate(E0, 0..3);
    assert_eq!((rig.gauge("records"), rig.reported()), (0, None));
}
