//! Links lose, repeat, order and part as configured; disks lose and tear what was not synced.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use triptych_world::disk::{Crashed, Disk, DiskConfig};
use triptych_world::latency::Dist;
use triptych_world::link::{LinkConfig, LinkCounts, Network, WhenCut};
use triptych_world::{MS, Options, SECOND, World};

fn simulate<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    body: impl FnOnce(World) -> F,
) -> T {
    World::simulate(seed, Options::default(), body).expect("no deadlock")
}

const SPREAD: Dist = Dist::Uniform {
    low: 1.0,
    high: 9.0,
};

/// Sends numbers over a link, and returns which arrived when.
fn traffic(seed: u64, count: u64, config: LinkConfig) -> (Vec<(u64, u64)>, LinkCounts) {
    simulate(seed, move |world| async move {
        let network = Network::new(&world);
        let link = network.link("a", "b", config);
        let arrived = Rc::new(RefCell::new(Vec::new()));
        for n in 0..count {
            let (note, clock) = (Rc::clone(&arrived), world.clone());
            let deliver = move |n| note.borrow_mut().push((clock.now(), n));
            network.send("a", "b", n, deliver).expect("there is a link");
            world.sleep(MS / 10).await;
        }
        world.sleep(SECOND).await;
        (arrived.take(), link.counts())
    })
}

#[test]
fn an_ordered_link_delivers_in_order_and_another_does_not() {
    let ordered = LinkConfig::new(SPREAD);
    let free = LinkConfig {
        in_order: false,
        ..ordered.clone()
    };
    let numbers = |config| {
        let (arrived, counts) = traffic(1, 500, config);
        assert_eq!((counts.sent, counts.delivered, counts.lost), (500, 500, 0));
        assert!(arrived.is_sorted_by_key(|(at, _)| *at));
        arrived.into_iter().map(|(_, n)| n).collect::<Vec<_>>()
    };
    let all: Vec<_> = (0..500).collect();
    assert_eq!(numbers(ordered), all);
    let mut mixed = numbers(free);
    assert_ne!(mixed, all);
    mixed.sort_unstable();
    assert_eq!(mixed, all);
}

#[test]
fn a_link_loses_and_duplicates_at_its_rates() {
    let config = LinkConfig {
        loss: 0.1,
        duplication: 0.2,
        ..LinkConfig::new(SPREAD)
    };
    let (arrived, counts) = traffic(1, 20_000, config.clone());
    assert!(counts.lost.abs_diff(2_000) < 150, "{counts:?}");
    assert!(counts.duplicated.abs_diff(3_600) < 200, "{counts:?}");
    assert_eq!(
        counts.sent + counts.duplicated,
        counts.delivered + counts.lost
    );
    assert_eq!(arrived.len() as u64, counts.delivered);
    assert_eq!(
        traffic(1, 2_000, config.clone()),
        traffic(1, 2_000, config.clone())
    );
    assert_ne!(traffic(1, 2_000, config.clone()), traffic(2, 2_000, config));
}

#[test]
fn the_luck_of_a_link_does_not_hang_on_others_or_on_other_rates() {
    let run = |busy: bool, loss: f64| {
        simulate(4, move |world| async move {
            let network = Network::new(&world);
            let free = LinkConfig {
                in_order: false,
                loss,
                ..LinkConfig::new(SPREAD)
            };
            network.link_both("a", "b", &free);
            let arrived = Rc::new(RefCell::new(Vec::new()));
            for n in 0..200 {
                if busy {
                    network
                        .send("b", "a", (), |()| {})
                        .expect("there is a link");
                }
                let (note, clock) = (Rc::clone(&arrived), world.clone());
                let deliver = move |n| note.borrow_mut().push((n, clock.now()));
                network.send("a", "b", n, deliver).expect("there is a link");
            }
            world.sleep(SECOND).await;
            arrived.take()
        })
    };
    assert_eq!(run(false, 0.0), run(true, 0.0));
    let (all, some) = (run(false, 0.0), run(false, 0.3));
    assert!(some.len() < 180 && some.iter().all(|arrival| all.contains(arrival)));
}

#[test]
fn a_partition_cuts_one_way_or_both_until_it_is_healed() {
    simulate(1, |world| async move {
        let network = Network::new(&world);
        let quick = LinkConfig::new(Dist::Constant { value: 1.0 });
        for (a, b) in [("a", "b"), ("a", "c"), ("b", "c")] {
            network.link_both(a, b, &quick);
        }
        let arrived = Rc::new(Cell::new(0));
        let all = async || {
            arrived.set(0);
            for (from, to, _) in network.all() {
                let count = Rc::clone(&arrived);
                let deliver = move |n: u32| count.set(count.get() + n);
                network
                    .send(&from, &to, 1, deliver)
                    .expect("there is a link");
            }
            world.sleep(SECOND).await;
            arrived.get()
        };
        assert_eq!(all().await, 6);
        network.cut(&["a"], &["b"]);
        assert_eq!(all().await, 5);
        network.partition(&["a"], &["b", "c"]);
        assert_eq!(all().await, 2);
        network.heal(&["a"], &["b", "c"]);
        assert_eq!(all().await, 4);
        network.heal_all();
        assert_eq!(all().await, 6);
        assert_eq!(network.get("a", "b").map(|link| link.counts().lost), Ok(2));
        let missing = network.send("a", "d", (), |()| {}).unwrap_err();
        assert_eq!(missing.to_string(), "there is no link from \"a\" to \"d\"");
    });
}

#[test]
fn a_connection_holds_messages_until_it_is_healed_and_keeps_their_order() {
    simulate(1, |world| async move {
        let network = Network::new(&world);
        let config = LinkConfig {
            when_cut: WhenCut::Hold,
            ..LinkConfig::new(SPREAD)
        };
        let link = network.link("a", "b", config);
        let arrived = Rc::new(RefCell::new(Vec::new()));
        let send = |n: u32| {
            let note = Rc::clone(&arrived);
            link.send(n, move |n| note.borrow_mut().push(n));
        };
        send(0);
        link.cut();
        (1..50).for_each(send);
        world.sleep(SECOND).await;
        assert_eq!(*arrived.borrow(), [0], "what was on its way has arrived");
        assert_eq!(link.counts().held, 49);
        link.heal();
        (50..60).for_each(send);
        world.sleep(SECOND).await;
        assert_eq!(*arrived.borrow(), (0..60).collect::<Vec<_>>());
        let counts = link.counts();
        assert_eq!((counts.held, counts.sent, counts.delivered), (0, 60, 60));
    });
}

#[test]
fn messages_that_own_their_link_are_freed_with_the_world() {
    let guard = Rc::new(());
    let inner = Rc::clone(&guard);
    simulate(1, |world| async move {
        let network = Network::new(&world);
        let config = LinkConfig {
            when_cut: WhenCut::Hold,
            ..LinkConfig::new(SPREAD)
        };
        network.link_both("a", "b", &config);
        let reply = || {
            let (network, inner) = (network.clone(), Rc::clone(&inner));
            move |()| drop((network.clone(), Rc::clone(&inner)))
        };
        network
            .send("a", "b", (), reply())
            .expect("there is a link");
        network.cut(&["b"], &["a"]);
        network
            .send("b", "a", (), reply())
            .expect("there is a link");
    });
    assert_eq!(Rc::strong_count(&guard), 1);
}

#[test]
fn a_standstill_over_held_messages_says_so() {
    let error = World::simulate(1, Options::default(), |world| async move {
        let network = Network::new(&world);
        let config = LinkConfig {
            when_cut: WhenCut::Hold,
            ..LinkConfig::new(SPREAD)
        };
        let link = network.link("a", "b", config);
        link.cut();
        link.send((), |()| {});
        world
            .waiting("an answer", std::future::pending::<()>())
            .await;
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("messages from a to b waits for its link to be healed"),
        "{error}"
    );
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    simulate(1, |world| async move {
        let disk = Disk::new(&world, "d", DiskConfig::ideal());
        assert_eq!(disk.append("log", b"one").await, Ok(0));
        disk.sync("log").await.unwrap();
        assert_eq!(disk.append("log", b"two").await, Ok(3));
        disk.write("log", 0, b"O").await.unwrap();
        disk.append("other", b"gone").await.unwrap();
        assert_eq!(disk.read("log", 0, 100).await.unwrap(), b"Onetwo");
        disk.crash();
        assert_eq!(disk.read("log", 0, 100).await.unwrap(), b"one");
        assert_eq!((disk.len("log"), disk.len("other")), (3, 0));
        disk.write("log", 5, b"x").await.unwrap();
        disk.truncate("log", 7).await.unwrap();
        disk.sync("log").await.unwrap();
        disk.crash();
        assert_eq!(disk.read("log", 1, 100).await.unwrap(), b"ne\0\0x\0");
        assert_eq!(disk.read("none", 0, 1).await.unwrap(), b"");
        assert_eq!(disk.files(), ["log", "other"]);
    });
}

#[test]
fn a_sync_covers_what_was_written_before_it_and_takes_its_time() {
    let ms = |value| Dist::Constant { value };
    simulate(1, move |world| async move {
        let config = DiskConfig {
            write: ms(1.0),
            sync: ms(10.0),
            read: ms(2.0),
            bandwidth: 1_000,
            ..DiskConfig::ideal()
        };
        let disk = Disk::new(&world, "d", config);
        disk.append("log", b"four").await.unwrap();
        assert_eq!(world.now(), MS);
        let (writer, clock) = (disk.clone(), world.clone());
        world.spawn("late", async move {
            clock.sleep(MS).await;
            // Waits for the sync: the disk does one thing at a time.
            writer.append("log", b"late").await.unwrap();
            assert_eq!(clock.now(), 16 * MS);
        });
        disk.sync("log").await.unwrap();
        assert_eq!(world.now(), 15 * MS, "10 ms and 4 bytes at 1,000 a second");
        world.sleep(SECOND).await;
        disk.crash();
        let read = world.now();
        assert_eq!(disk.read("log", 0, 9).await.unwrap(), b"four");
        assert_eq!(world.now() - read, 6 * MS);
        // A sync that nobody waits for any more happens all the same.
        disk.append("log", b"!").await.unwrap();
        assert!(world.timeout(MS, disk.sync("log")).await.is_err());
        world.sleep(SECOND).await;
        disk.crash();
        assert_eq!(disk.len("log"), 5);
        // One that the crash meets fails.
        disk.append("log", b"?").await.unwrap();
        let (syncer, crasher) = (disk.clone(), disk.clone());
        world.after(MS, move || crasher.crash());
        assert_eq!(syncer.sync("log").await, Err(Crashed));
        assert_eq!(disk.len("log"), 5);
    });
}

/// What a crash leaves of eight unsynced records of eight bytes, over many seeds.
fn crashes(config: &DiskConfig) -> Vec<Vec<u8>> {
    let left = |seed| {
        let config = config.clone();
        simulate(seed, move |world| async move {
            let disk = Disk::new(&world, "d", config);
            for n in 1..=8 {
                disk.append("log", &[n; 8]).await.unwrap();
            }
            disk.crash();
            disk.read("log", 0, 100).await.unwrap()
        })
    };
    (0..400).map(left).collect()
}

#[test]
fn a_crash_may_tear_the_last_write() {
    let config = DiskConfig {
        torn: 0.5,
        ..DiskConfig::ideal()
    };
    let left = crashes(&config);
    assert_eq!(left, crashes(&config), "reproducible");
    // The torn record is the eighth; the seven before it are holes.
    let torn = left.iter().filter(|bytes| !bytes.is_empty()).count();
    assert!((140..260).contains(&torn), "{torn}");
    for bytes in left.iter().filter(|bytes| !bytes.is_empty()) {
        assert!((56..64).contains(&bytes.len()));
        assert!(bytes[..56].iter().all(|&b| b == 0) && bytes[56..].iter().all(|&b| b == 8));
    }
}

#[test]
fn writes_that_were_not_synced_may_survive_in_any_order() {
    let config = DiskConfig {
        survives: 0.5,
        torn: 0.3,
        ..DiskConfig::ideal()
    };
    let left = crashes(&config);
    let gap = |bytes: &Vec<u8>| bytes.windows(2).any(|pair| pair[0] == 0 && pair[1] != 0);
    assert!(left.iter().filter(|bytes| gap(bytes)).count() > 200);
    assert!(
        left.iter().any(|bytes| bytes.len() % 8 != 0),
        "some are torn"
    );
}

#[test]
fn a_disk_that_lies_loses_what_was_synced() {
    let lies = simulate(3, |world| async move {
        let config = DiskConfig {
            lost: 0.2,
            ..DiskConfig::ideal()
        };
        let disk = Disk::new(&world, "d", config);
        for n in 0..1_000 {
            disk.write("blocks", n, &[1]).await.unwrap();
            disk.sync("blocks").await.unwrap();
        }
        let before = disk.read("blocks", 0, 1_000).await.unwrap();
        assert!(
            before.iter().all(|&b| b == 1),
            "nobody sees it before the crash"
        );
        disk.crash();
        let after = disk.read("blocks", 0, 1_000).await.unwrap();
        after.iter().filter(|&&b| b == 0).count()
    });
    assert!((150..250).contains(&lies), "{lies}");
}
