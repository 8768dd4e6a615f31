//! The oldest transaction gets through: everybody who waits does so for one holder per key, and dies
//! only of older ones.

mod common;

use common::{cloud, timing};
use std::rc::Rc;
use triptych_api::Value;
use triptych_api::model::Outcome;
use triptych_world::{MS, Nanos, Options, SECOND, World};

/// Transactions of this many clients, which begin this far apart, over so few accounts; how long each
/// took, in the order in which they began.
fn contend(seed: u64, clients: u64, apart: Nanos, accounts: i64) -> Vec<Nanos> {
    let options = Options {
        shuffle: true,
        ..Options::default()
    };
    World::simulate(seed, options, move |world| async move {
        let cloud = cloud(&world, timing(), None).await;
        let mut running = Vec::new();
        for n in 0..clients {
            world.begin_request(n, 0);
            let (own, time) = (Rc::clone(&cloud), world.clone());
            // Half of them go the other way round.
            let (from, to) = (
                (n as i64) % accounts,
                (n as i64 + 1 + n as i64 % 2) % accounts,
            );
            running.push(world.spawn("client", async move {
                let began = time.now();
                let answer = own.ask(n, "Move", from, to).await;
                assert_eq!(answer.outcome, Outcome::Ok, "client {n}");
                time.now() - began
            }));
            world.sleep(apart).await;
        }
        let mut took = Vec::new();
        for client in running {
            took.push(client.await);
        }
        cloud.settle(600 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        assert!(state.residue.is_empty(), "{:?}", state.residue);
        let n = |row: &Value| row.get("n").and_then(Value::as_int).unwrap_or(0);
        let sum: i64 = state.rows("bank").map(|(_, row)| n(row)).sum();
        assert_eq!(sum, 0);
        took
    })
    .expect("no deadlock")
}

/// Alone, a transaction takes so long at most.
fn alone(seed: u64) -> Nanos {
    let took = contend(seed, 12, 5 * SECOND, 3);
    took.into_iter().max().unwrap_or_default()
}

#[test]
fn the_first_one_is_not_held_up_by_all_who_come_after_it() {
    for seed in 1..7 {
        let alone = alone(seed);
        let took = contend(seed, 40, 5 * MS, 3);
        // It waits for one younger holder for each of its three keys, which may wait for two more.
        let first = took[0];
        assert!(first < 8 * alone, "seed {seed}: {first} ns, alone {alone}");
        let last = took.iter().max().copied().unwrap_or_default();
        assert!(last > 2 * first, "seed {seed}: nobody had to wait");
    }
}

#[test]
fn everybody_gets_through_in_the_end() {
    for (seed, accounts) in [(11, 2), (12, 3), (13, 5)] {
        let took = contend(seed, 60, 20 * MS, accounts);
        assert_eq!(took.len(), 60);
    }
}
