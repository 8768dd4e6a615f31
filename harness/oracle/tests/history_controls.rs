//! Controls of the history checker: no alarm on what is valid by construction, and every planted
//! anomaly found and named.

use triptych_model::history::{History, KeyKind, TxStatus};
use triptych_oracle::history::sample::{PLANTED, Shape, planted, valid};
use triptych_oracle::history::{Anomaly, Family, Level, Options, Refusal, check, export, picture};

/// Valid histories per kind of key; with windows and registers more than 10,000 together.
const VALID: u64 = 4_000;
const SEEDS: u64 = 1_000;

fn no_alarm(kind: KeyKind, seeds: u64) {
    for seed in 0..seeds {
        let shape = Shape {
            kind,
            length: if seed % 2 == 0 { 1_000 } else { 6 },
            keys: 1 + (seed % 4) as u32,
            ..Shape::small(8 + (seed % 40) as u32)
        };
        let history = valid(&shape, seed);
        let report = check(&history, Options::ALL).expect("is whole");
        assert!(
            report.found.is_empty(),
            "{kind:?} {seed}: {:#?}",
            report.found
        );
        assert_eq!(report.level, Level::StrictSerializable);
    }
}

#[test]
fn valid_lists_raise_no_alarm() {
    no_alarm(KeyKind::List, VALID);
}

#[test]
fn valid_registers_raise_no_alarm() {
    no_alarm(KeyKind::Register, VALID);
}

#[test]
fn valid_windows_raise_no_alarm() {
    for keep in 1..5 {
        no_alarm(KeyKind::Window(keep), VALID / 4);
    }
}

#[test]
fn equal_moments_are_no_order() {
    for seed in 0..500 {
        let mut history = valid(&Shape::small(30), seed);
        for tx in &mut history.transactions {
            (tx.begin, tx.end) = (tx.begin / 40 * 40, tx.end.div_ceil(40) * 40);
        }
        let report = check(&history, Options::ALL).expect("is whole");
        assert!(report.found.is_empty(), "{seed}: {:#?}", report.found);
    }
}

#[test]
fn every_planted_anomaly_is_found_and_named() {
    for anomaly in PLANTED {
        let (mut named, mut short) = (0, 0);
        for seed in 0..SEEDS {
            let shape = Shape::small(10 + (seed % 20) as u32);
            let history = planted(&shape, anomaly, seed).expect("can be planted");
            let report = check(&history, Options::ALL).expect("is whole");
            let found = report.of(anomaly);
            assert!(
                !report.found.is_empty(),
                "{anomaly} not detected in seed {seed}"
            );
            // The session guarantee and the cycle that says the same are both right names.
            named += u64::from(found.is_some());
            short += u64::from(found.is_some_and(|f| f.witness.transactions.len() <= 6));
        }
        assert!(
            named * 100 >= SEEDS * 99,
            "{anomaly} named in {named} of {SEEDS}"
        );
        assert!(
            short * 100 >= SEEDS * 95,
            "{anomaly} short in {short} of {SEEDS}"
        );
    }
}

#[test]
fn the_most_basic_name_is_the_planted_one() {
    // Read-your-writes and the like also show as cycles of sessions and of real time.
    let isolation = PLANTED.iter().filter(|a| Anomaly::ISOLATION.contains(a));
    for anomaly in isolation {
        for seed in 0..200 {
            let history = planted(&Shape::small(20), *anomaly, seed).expect("can be planted");
            let report = check(&history, Options::DATA).expect("is whole");
            assert_eq!(
                report.found[0].anomaly, *anomaly,
                "{seed}: {:#?}",
                report.found
            );
        }
    }
}

#[test]
fn levels_follow_from_what_is_planted() {
    for (anomaly, level) in [
        (Anomaly::Cycle(Family::G0), Level::None),
        (Anomaly::AbortedRead, Level::ReadUncommitted),
        (Anomaly::Cycle(Family::GSingle), Level::ReadCommitted),
        (Anomaly::Cycle(Family::G2Item), Level::ConsistentView),
        (Anomaly::SessionCycle(Family::GSingle), Level::Serializable),
        (
            Anomaly::RealTimeCycle(Family::GSingle),
            Level::SessionSerializable,
        ),
    ] {
        let history = planted(&Shape::small(20), anomaly, 7).expect("can be planted");
        assert_eq!(
            check(&history, Options::ALL).expect("is whole").level,
            level,
            "{anomaly}"
        );
    }
}

#[test]
fn a_history_that_is_not_whole_gets_no_verdict() {
    let history = valid(&Shape::small(30), 1);
    let refused = |history: &History| check(history, Options::ALL).expect_err("is refused");
    let cut = History {
        truncated: Some("the recorder stopped".to_owned()),
        ..history.clone()
    };
    assert!(matches!(refused(&cut), Refusal::Truncated(_)));
    let mut blind = history.clone();
    blind.keys[0].order = None;
    assert!(matches!(refused(&blind), Refusal::NoFinalState(_)));
    let mut strange = history.clone();
    strange.elements = 1;
    assert!(matches!(refused(&strange), Refusal::Malformed(_)));

    let text = export::json_lines(&history);
    assert_eq!(export::from_json_lines(&text), Ok(history));
    let lines: Vec<&str> = text.lines().collect();
    for kept in 0..lines.len() {
        let error = export::from_json_lines(&lines[..kept].join("\n"));
        assert!(
            matches!(error, Err(Refusal::Truncated(_))),
            "{kept}: {error:?}"
        );
    }
    let holed: Vec<&str> = lines
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != 3)
        .map(|(_, l)| *l)
        .collect();
    assert!(matches!(
        export::from_json_lines(&holed.join("\n")),
        Err(Refusal::Truncated(_))
    ));
}

#[test]
fn elle_gets_an_invocation_and_an_end_of_every_transaction() {
    let history = valid(&Shape::small(40), 3);
    let edn = export::edn(&history);
    let count = |kind: &str| edn.matches(&format!(":type :{kind},")).count();
    let of = |status| {
        history
            .transactions
            .iter()
            .filter(|tx| tx.status == status)
            .count()
    };
    // One more for the final reads.
    assert_eq!(count("ok"), of(TxStatus::Committed) + 1);
    assert_eq!(count("fail"), of(TxStatus::Aborted));
    assert_eq!(count("info"), of(TxStatus::Indeterminate));
    assert_eq!(count("invoke"), 41);
    assert!(
        edn.lines()
            .all(|line| line.starts_with("{:index ") && line.ends_with('}'))
    );
}

#[test]
fn a_witness_is_told_and_drawn() {
    let anomaly = Anomaly::Cycle(Family::G2Item);
    let history = planted(&Shape::small(10), anomaly, 5).expect("can be planted");
    let report = check(&history, Options::DATA).expect("is whole");
    let found = report.of(anomaly).expect("is found");
    let told = &found.witness.told;
    assert!(
        told.contains("without what T") && told.contains("no serial order"),
        "{told}"
    );
    let svg = picture(&history, found);
    assert_eq!(svg, picture(&history, found));
    assert_eq!(
        svg.matches("<circle").count(),
        found.witness.transactions.len()
    );
    assert_eq!(svg.matches("<polygon").count(), found.witness.steps.len());
    assert!(svg.contains(">rw k3<") || svg.contains(">rw k4<"), "{svg}");
    if let Ok(folder) = std::env::var("TRIPTYCH_PICTURES") {
        std::fs::write(format!("{folder}/g2.svg"), svg).expect("can be written");
    }
}
