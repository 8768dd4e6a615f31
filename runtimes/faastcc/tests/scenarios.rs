//! What FaaSTCC's caches and storage do in situations that are made on purpose.

#[path = "../../refreshed/tests/common/mod.rs"]
mod common;

use common::{key, site};
use std::future::Future;
use triptych_api::Value;
use triptych_faastcc::{
    Bug, Config, History, Interval, Peer, Reply, Request, Server, Stamp, start,
};
use triptych_nodes::sim::SimConfig;
use triptych_nodes::{Node, Out, Peer as From};
use triptych_refreshed::cluster::CENTRE;
use triptych_refreshed::{Failure, Outcome, Port, Wire};
use triptych_world::{MS, Options, World};

const A: u64 = 1;
const B: u64 = 2;

struct Bench {
    world: World,
    ports: Vec<Port<Request, Reply>>,
}

fn bench<F: Future<Output = ()> + 'static>(
    versions: usize,
    body: impl FnOnce(Bench) -> F + 'static,
) {
    let run = World::simulate(1, Options::default(), move |world| async move {
        let site = site(&world).await;
        let config = Config {
            versions,
            ..Config::default()
        };
        let cluster = start(&world, SimConfig::ideal(0.2), &site.store, 3, config);
        let ports = (0..3).map(|at| cluster.port(at)).collect();
        let bench = Bench {
            world: world.clone(),
            ports,
        };
        body(bench).await;
    });
    run.expect("no deadlock");
}

impl Bench {
    async fn commit(&self, at: usize, writes: &[(u64, i64)]) -> Stamp {
        let writes = writes.iter().map(|&(n, value)| (key(n), Value::Int(value)));
        let writes = writes.collect();
        match self.ports[at].ask(Request::Commit { writes }).await {
            Ok(Reply::Committed(stamp)) => stamp,
            other => panic!("{other:?}"),
        }
    }

    /// Reads a key, and narrows the interval.
    async fn read(&self, at: usize, when: &mut Interval, n: u64) -> Result<Option<i64>, Failure> {
        let request = Request::Read {
            interval: *when,
            keys: vec![key(n)],
        };
        match self.ports[at].ask(request).await {
            Ok(Reply::Read(got)) => {
                let [got] = got.as_slice() else {
                    panic!("{got:?}");
                };
                assert!(got.when.meets(*when), "{got:?} {when:?}");
                *when = when.and(got.when);
                Ok(got.value.as_ref().and_then(Value::as_int))
            }
            Ok(Reply::Failed(failure)) => Err(failure),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_workflow_reads_is_the_state_at_one_time() {
    bench(8, |bench| async move {
        let first = bench.commit(0, &[(A, 1), (B, 1)]).await;
        let mut when = Interval {
            low: first,
            ..Interval::default()
        };
        assert_eq!(bench.read(0, &mut when, A).await, Ok(Some(1)));
        let second = bench.commit(2, &[(A, 2), (B, 2)]).await;
        assert!(first < second && when.high < second, "{when:?}");
        bench.world.sleep(200 * MS).await;
        // Server 1 has the new one by now, and reads the old one for this workflow.
        let mut new = Interval::default();
        assert_eq!(bench.read(1, &mut new, B).await, Ok(Some(2)));
        let before = when;
        assert_eq!(bench.read(1, &mut when, B).await, Ok(Some(1)));
        assert!(when.low == first && when.high <= before.high, "{when:?}");
        assert_eq!(bench.read(2, &mut new, A).await, Ok(Some(2)));
    });
}

#[test]
fn a_version_that_is_not_kept_is_an_abort() {
    bench(0, |bench| async move {
        let first = bench.commit(0, &[(A, 1), (B, 1)]).await;
        let mut when = Interval {
            low: first,
            ..Interval::default()
        };
        assert_eq!(bench.read(0, &mut when, A).await, Ok(Some(1)));
        bench.commit(2, &[(B, 2)]).await;
        bench.world.sleep(200 * MS).await;
        let read = bench.read(1, &mut when, B).await;
        assert!(matches!(read, Err(Failure::Aborted(_))), "{read:?}");
        let mut new = Interval::default();
        assert_eq!(bench.read(1, &mut new, B).await, Ok(Some(2)));
    });
}

/// Until when a row counts as valid that was asked for before the promise of 10 was followed by that of
/// 20, with a commit at 15 that the row does not have.
fn high_of_a_row_that_was_overtaken(bug: Option<Bug>) -> Stamp {
    let config = Config {
        bug,
        ..Config::default()
    };
    let mut server = Server::new(config);
    let mut out = Out::default();
    let fresh = |since, promise, changed| {
        Wire::Peer(Peer::Fresh {
            since: Stamp(since),
            promise: Stamp(promise),
            changed: Some(changed),
        })
    };
    let (bridge, client) = (From::Client(0), From::Client(1));
    let storage = From::Node(CENTRE);
    server.on_message(0, bridge, Wire::Bridge, &mut out);
    server.on_message(0, storage, fresh(0, 10, Vec::new()), &mut out);
    let request = Request::Read {
        interval: Interval::default(),
        keys: vec![key(A)],
    };
    server.on_message(0, client, Wire::Request { op: 1, request }, &mut out);
    let token = out.sends.iter().find_map(|(_, message)| match message {
        Wire::Query { token, .. } => Some(*token),
        _ => None,
    });
    let token = token.expect("what is missing is asked for");
    server.on_message(
        0,
        storage,
        fresh(10, 20, vec![(key(A), Stamp(15))]),
        &mut out,
    );
    let row = History::default().with(Value::Int(1), Stamp(5), Stamp(0), 8);
    let outcome = Outcome::Found(vec![Some(row)]);
    server.on_message(0, bridge, Wire::Outcome { token, outcome }, &mut out);
    let high = out.sends.iter().find_map(|(_, message)| match message {
        Wire::Reply {
            reply: Reply::Read(got),
            ..
        } => Some(got[0].when.high),
        _ => None,
    });
    high.expect("the read is answered")
}

#[test]
fn a_row_that_was_overtaken_by_a_commit_is_valid_no_longer_than_that() {
    assert!(high_of_a_row_that_was_overtaken(None) < Stamp(15));
    let wrong = high_of_a_row_that_was_overtaken(Some(Bug::FetchedCountsAsNew));
    assert_eq!(wrong, Stamp(20));
}

#[test]
fn promises_are_extended_as_long_as_nothing_is_committed() {
    bench(8, |bench| async move {
        bench.commit(0, &[(A, 1)]).await;
        bench.world.sleep(200 * MS).await;
        let mut highs = Vec::new();
        for _ in 0..3 {
            let mut when = Interval::default();
            assert_eq!(bench.read(1, &mut when, A).await, Ok(Some(1)));
            highs.push(when.high);
            bench.world.sleep(100 * MS).await;
        }
        assert!(highs[0] < highs[1] && highs[1] < highs[2], "{highs:?}");
    });
}

#[test]
fn who_has_seen_a_commit_is_shown_it_wherever_it_goes() {
    bench(8, |bench| async move {
        for n in 1..20 {
            let at = (n % 3) as usize;
            let low = bench.commit(at, &[(A, n)]).await;
            let mut when = Interval {
                low,
                ..Interval::default()
            };
            let read = bench.read((at + 1) % 3, &mut when, A).await;
            assert_eq!(read, Ok(Some(n)));
        }
    });
}

#[test]
fn nonsense_is_answered_in_words() {
    bench(8, |bench| async move {
        let interval = Interval {
            low: Stamp(2),
            high: Stamp(1),
        };
        let keys = vec![key(A)];
        let reply = bench.ports[0].ask(Request::Read { interval, keys }).await;
        assert!(matches!(reply, Ok(Reply::Failed(Failure::Bad(_)))));
        for writes in [vec![], vec![(key(A), Value::Null), (key(A), Value::Null)]] {
            let reply = bench.ports[0].ask(Request::Commit { writes }).await;
            assert!(matches!(reply, Ok(Reply::Failed(Failure::Bad(_)))));
        }
    });
}
