//! How long a cluster in simulated time is without service when a node fails under load, and that
//! nothing acknowledged is lost meanwhile.
//!
//! `cargo bench -p triptych-log --bench reconfigure`

use std::cell::RefCell;
use std::rc::Rc;
use triptych_log::sim::{SimCluster, lan};
use triptych_log::{Book, Bugs, Config, EVERY, Level, Role, SeqNum, Shape};
use triptych_nodes::NodeId;
use triptych_world::{MS, Nanos, Options, SECOND, World};

/// How often each is tried, with another seed.
const TRIES: u64 = 21;
/// Clients that append, one record after the other.
const CLIENTS: u64 = 16;

/// The longest time without an acknowledgement, of clients at an engine that lives; and whether all
/// that was acknowledged is there.
fn kill(seed: u64, role: Role, level: Level) -> (Nanos, bool) {
    let inside = move |world: World| async move {
        let shape = Shape {
            logs: 1,
            metas: 3,
            copies: 3,
            indexes: 2,
        };
        let mut config = Config::of(3, 4, 4, 3, shape);
        config.level = level;
        let victim = match role {
            Role::Controller => config.controllers[0],
            Role::Sequencer => config.sequencers[0],
            Role::Storage => config.storages[0],
            Role::Engine => config.engines[0],
        };
        let alive = config.engines[1];
        let cluster = SimCluster::start(&world, config, lan(), Bugs::default()).expect("it can be");
        assert!(cluster.ready(10 * SECOND).await, "there is no first view");
        let until = world.now() + 2 * SECOND;
        let acked: Rc<RefCell<Vec<(Nanos, SeqNum)>>> = Rc::default();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let book = Book::new(cluster.port(alive), 1);
                let (acked, world) = (Rc::clone(&acked), world.clone());
                let spawner = world.clone();
                spawner.spawn("client", async move {
                    while world.now() < until {
                        if let Ok(seq) = book.append(&[1], &[7; 100]).await {
                            acked.borrow_mut().push((world.now(), seq));
                        }
                    }
                })
            })
            .collect();
        world.sleep(500 * MS).await;
        cluster.sim().kill(victim);
        for client in clients {
            client.await;
        }
        let acked = acked.take();
        let whole = is_whole(&cluster, alive, &acked).await;
        let times: Vec<Nanos> = acked.iter().map(|&(at, _)| at).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        (gap.expect("somebody was answered"), whole)
    };
    World::simulate(seed, Options::default(), inside).expect("nobody waits for ever")
}

async fn is_whole(cluster: &SimCluster, engine: NodeId, acked: &[(Nanos, SeqNum)]) -> bool {
    let book = Book::new(cluster.port(engine), 1);
    book.append(&[], b"the end")
        .await
        .expect("the cluster works again");
    let (mut there, mut from) = (Vec::new(), SeqNum::ZERO);
    loop {
        let some = book
            .read_some(EVERY, from, 500)
            .await
            .expect("the cluster works again");
        let Some(last) = some.last() else {
            break;
        };
        from = last.seq.next();
        there.extend(some.iter().map(|found| found.seq));
    }
    acked
        .iter()
        .all(|(_, seq)| there.binary_search(seq).is_ok())
}

fn main() {
    println!(
        "simulated; a node is taken for dead after 100 ms of silence; 16 clients, {TRIES} seeds"
    );
    println!(
        "level   killed       without service, ms: least  median    most   acknowledged and lost"
    );
    for level in [Level::Memory, Level::Synced] {
        for role in [
            Role::Sequencer,
            Role::Storage,
            Role::Engine,
            Role::Controller,
        ] {
            let mut tries: Vec<_> = (0..TRIES).map(|seed| kill(seed, role, level)).collect();
            tries.sort_unstable();
            let ms = |at: usize| tries[at].0 as f64 / MS as f64;
            let lost = tries.iter().filter(|(_, whole)| !whole).count();
            println!(
                "{:7} {:12} {:26.1} {:7.1} {:7.1}   {lost} of {TRIES}",
                format!("{level:?}").to_lowercase(),
                role.name(),
                ms(0),
                ms(tries.len() / 2),
                ms(tries.len() - 1),
            );
        }
    }
}
