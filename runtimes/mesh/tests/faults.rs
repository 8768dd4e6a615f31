//! Clusters under faults keep what they promise: trials of random clusters, judged by what their
//! clients saw.

mod mesh_world;

use mesh_world::judge::{Event, History, Shown, judge};
use mesh_world::trial::{self, Outcome, Wish};
use triptych_mesh::Level;
use triptych_world::{MS, SECOND};

fn complain(outcome: &Outcome) {
    assert!(
        outcome.wrong.is_empty(),
        "seed {} ({:?}, {} servers): {:#?}",
        outcome.seed,
        outcome.level,
        outcome.servers,
        &outcome.wrong[..outcome.wrong.len().min(5)]
    );
}

#[test]
fn without_faults_all_is_well() {
    for seed in 0..6 {
        let wish = Wish {
            calm: true,
            ..Wish::default()
        };
        let outcome = trial::run_as(seed, wish);
        complain(&outcome);
        assert_eq!(outcome.counts.lost + outcome.counts.unavailable, 0);
    }
}

#[test]
fn clusters_under_faults_keep_what_they_promise() {
    for seed in 0..24 {
        complain(&trial::run(seed));
    }
}

#[test]
fn clusters_on_a_database_node_keep_what_they_promise() {
    for seed in 0..12 {
        let wish = Wish {
            database: true,
            ..Wish::default()
        };
        complain(&trial::run_as(seed, wish));
    }
}

/// A server made its seat whole and heard of that only when the ring had changed again. It forgot
/// its copy, and all that the others did not have any more was lost.
#[test]
fn a_server_may_miss_the_epoch_in_which_it_becomes_whole() {
    for (seed, database) in [(1492, false), (141, true)] {
        let wish = Wish {
            database,
            ..Wish::default()
        };
        complain(&trial::run_as(seed, wish));
    }
}

/// A client wrote at a server that had not heard how many versions of a dead one count, and then at
/// one that had. Its own writes were shown in the wrong order to it until they were everywhere. `lost`
/// constructs it.
#[test]
fn own_writes_that_count_a_lost_one_keep_their_order() {
    complain(&trial::run(20128));
}

/// A server that was off the ring and did not know it had a version that was lost with it. It was
/// asked for a snapshot that counts another version whose clock counts that one: without the lost one
/// it could not show it. `lost` constructs it.
#[test]
fn a_snapshot_is_the_same_to_a_server_that_is_off_the_ring() {
    let wish = Wish {
        database: true,
        ..Wish::default()
    };
    complain(&trial::run_as(30443, wish));
}

/// One that goes round in circles is a failed one.
#[test]
fn a_trial_that_does_not_end_is_given_up_with_words() {
    for most in [(200 * MS, u64::MAX), (600 * SECOND, 100)] {
        let wish = Wish {
            most: Some(most),
            ..Wish::default()
        };
        let outcome = trial::run_as(7, wish);
        let words = outcome.wrong.first().map_or("", String::as_str);
        assert!(words.starts_with("it does not end"), "{words:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (first, second) = (trial::run(3), trial::run(3));
    assert_eq!(first.digest, second.digest);
    assert_eq!(first.counts, second.counts);
}

/// Many trials: `MESH_SEEDS=10000 MESH_FROM=0 cargo test -p triptych-mesh --test faults -- --ignored
/// many --nocapture`, `MESH_LEVEL=synced` for one level only, and `MESH_DATABASE=1` with a node that
/// keeps the rows.
#[test]
#[ignore = "takes as long as it is asked to"]
fn many() {
    let number = |name: &str, default: u64| {
        let said = std::env::var(name).ok().and_then(|text| text.parse().ok());
        said.unwrap_or(default)
    };
    let (from, many) = (number("MESH_FROM", 0), number("MESH_SEEDS", 200));
    let named = std::env::var("MESH_LEVEL").ok();
    let mut level = Level::ALL.into_iter();
    let level = level.find(|level| Some(level.name()) == named.as_deref());
    let (mut bad, mut ruined, mut epochs) = (0, 0, 0);
    let (mut joins, mut took, mut longest, mut packets) = (0, 0, 0, 0);
    let mut counts = mesh_world::client::Counts::default();
    let mut harm = mesh_world::chaos::Harm::default();
    for seed in from..from + many {
        let wish = Wish {
            level,
            database: std::env::var("MESH_DATABASE").is_ok(),
            ..Wish::default()
        };
        if seed > from && (seed - from).is_multiple_of(100) {
            println!("{} trials, {bad} bad", seed - from);
        }
        let outcome = trial::run_as(seed, wish);
        ruined += u64::from(outcome.ruined);
        epochs += outcome.epochs;
        joins += (outcome.slots as u64).saturating_sub(u64::from(outcome.servers));
        took += outcome.took;
        longest = longest.max(outcome.took);
        packets = packets.max(outcome.packets);
        harm.add(&outcome.harm);
        counts.looks += outcome.counts.looks;
        counts.acknowledged += outcome.counts.acknowledged;
        counts.unknown += outcome.counts.unknown;
        counts.unavailable += outcome.counts.unavailable;
        counts.lost += outcome.counts.lost;
        counts.snapshots += outcome.counts.snapshots;
        if std::env::var("MESH_SHOW").is_ok() {
            for (at, event) in outcome.history.events.iter().enumerate() {
                println!("{at}: {event:?}");
            }
            println!("{:?}", outcome.history.ends);
        }
        if !outcome.wrong.is_empty() {
            bad += 1;
            let words: Vec<String> = outcome
                .wrong
                .iter()
                .take(2)
                .map(|w| w.chars().take(1500).collect())
                .collect();
            println!(
                "seed {seed} {:?} {}: {words:#?}",
                outcome.level, outcome.servers
            );
        }
    }
    println!("{many} trials, {bad} bad, {ruined} ruined; {epochs} epochs, {joins} joins, {harm:?}");
    println!(
        "{counts:?}, {} s of virtual time; at most {} ms and {packets} messages in one",
        took / SECOND,
        longest / MS
    );
    assert_eq!(bad, 0);
}

// ---- The judge itself ----

fn good() -> (Level, History) {
    let wish = Wish {
        calm: true,
        level: Some(Level::Synced),
        ..Wish::default()
    };
    let outcome = trial::run_as(1, wish);
    complain(&outcome);
    (outcome.level, outcome.history)
}

/// Spoils a history, and says what the judge says of it.
fn spoil_of(good: &(Level, History), spoil: impl Fn(&mut History) -> bool) -> Vec<String> {
    let (level, mut history) = good.clone();
    assert!(spoil(&mut history), "there was nothing to spoil");
    judge(level, &history)
}

/// Changes the last list with at least so many tags that somebody saw.
fn last_list(
    history: &mut History,
    least: usize,
    change: impl Fn(&mut Vec<u64>, &mut i64),
) -> bool {
    for event in history.events.iter_mut().rev() {
        if let Event::Looked { shown, .. } = event {
            for (_, shown) in shown {
                if let Shown::List(tags, count) = shown
                    && tags.len() >= least
                {
                    change(tags, count);
                    return true;
                }
            }
        }
    }
    false
}

#[test]
fn the_judge_sees_spoilt_histories() {
    let good = good();
    let spoilt = |spoil: &dyn Fn(&mut History) -> bool| spoil_of(&good, spoil);
    let says = |wrong: &[String], words: &str| {
        assert!(
            wrong.iter().any(|it| it.contains(words)),
            "{words}: {wrong:#?}"
        );
    };
    let wrong = spoilt(&|history| {
        last_list(history, 3, |tags, count| {
            tags.remove(0);
            *count -= 1;
        })
    });
    says(&wrong, "which the reader knows");
    let wrong = spoilt(&|history| {
        last_list(history, 3, |tags, count| {
            tags.push(tags[0]);
            *count += 1;
        })
    });
    says(&wrong, "counts twice");
    says(
        &spoilt(&|h| last_list(h, 1, |_, count| *count += 1)),
        "counts twice",
    );
    let wrong = spoilt(&|history| {
        last_list(history, 1, |tags, count| {
            tags.push(1 << 40);
            *count += 1;
        })
    });
    says(&wrong, "nobody wrote");
    let wrong = spoilt(&|history| last_list(history, 8, |tags, _| tags.reverse()));
    says(&wrong, "which knew it");
    let wrong = spoilt(&|history| {
        history.ends[0].iter_mut().any(|(_, shown)| match shown {
            Shown::List(tags, count) => {
                *count -= 1;
                tags.pop().is_some()
            }
            Shown::Register(_) => false,
        })
    });
    says(&wrong, "ends differ");
    let wrong = spoilt(&|history| {
        for end in &mut history.ends {
            for (_, shown) in end {
                if let Shown::List(tags, count) = shown {
                    tags.clear();
                    *count = 0;
                }
            }
        }
        true
    });
    says(&wrong, "was acknowledged and is not in");
    let wrong = spoilt(&|history| {
        for event in &mut history.events {
            if let Event::Looked { shown, .. } = event {
                for (_, shown) in shown {
                    if let Shown::Register(tag) = shown {
                        *tag = None;
                    }
                }
            }
        }
        true
    });
    says(&wrong, "has replaced");
    let wrong = spoilt(&|history| {
        let own = vec![(0, u64::MAX)];
        history.events.push(Event::Lost { slot: 0, own });
        true
    });
    says(&wrong, "told that versions of 0 were lost");
    let wrong = spoilt(&|history| {
        let own = vec![(0, 1), (1, u64::MAX)];
        history.events.push(Event::Lost { slot: 0, own });
        true
    });
    says(&wrong, "told that others' versions of 0 were lost");
    let wrong = spoilt(&|history| {
        let covered = history.events.iter_mut().rev();
        let mut clocks = covered.filter_map(|event| match event {
            Event::Covered { clock, must } if !must.is_empty() => Some(clock),
            _ => None,
        });
        clocks
            .next()
            .map(std::collections::BTreeMap::clear)
            .is_some()
    });
    says(&wrong, "does not cover");
}
