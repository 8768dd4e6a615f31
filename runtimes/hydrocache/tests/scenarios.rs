//! What HydroCache's servers do in situations that are made on purpose.

#[path = "../../refreshed/tests/common/mod.rs"]
mod common;

use common::{key, site};
use std::collections::BTreeMap;
use std::future::Future;
use triptych_api::Value;
use triptych_cached::Attempt;
use triptych_hydrocache::{Bug, Config, Deps, Got, Held, Holds, Reply, Request, start};
use triptych_mesh::{Clock, Key};
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::{Failure, Port};
use triptych_world::{MS, Nanos, Options, SECOND, World};

const A: u64 = 1;
const B: u64 = 2;

/// Three servers, and a port at each.
struct Bench {
    world: World,
    cluster: triptych_hydrocache::Nodes,
    ports: Vec<Port<Request, Reply>>,
}

/// Runs `body` on servers that refresh so often.
fn bench<F: Future<Output = ()> + 'static>(
    period: Nanos,
    bug: Option<Bug>,
    body: impl FnOnce(Bench) -> F + 'static,
) {
    let config = Config {
        period,
        bug,
        ..Config::default()
    };
    bench_of(config, body);
}

/// Runs `body` on servers that are set up like this.
fn bench_of<F: Future<Output = ()> + 'static>(
    config: Config,
    body: impl FnOnce(Bench) -> F + 'static,
) {
    let run = World::simulate(1, Options::default(), move |world| async move {
        let site = site(&world).await;
        let cluster = start(&world, SimConfig::ideal(0.2), &site.store, 3, config);
        let ports = (0..3).map(|at| cluster.port(at)).collect();
        let bench = Bench {
            world: world.clone(),
            cluster,
            ports,
        };
        bench.world.sleep(10 * MS).await;
        body(bench).await;
    });
    run.expect("no deadlock");
}

fn attempt(root: u64) -> Attempt {
    Attempt { root, number: 0 }
}

/// What a workflow knows, as its client would.
#[derive(Clone, Default)]
struct Workflow {
    root: u64,
    read: Holds,
    seen: Holds,
}

impl Workflow {
    fn new(root: u64) -> Self {
        Workflow {
            root,
            ..Workflow::default()
        }
    }
}

fn number(got: &Got) -> Option<i64> {
    got.line.value.as_ref()?.as_int()
}

impl Bench {
    async fn ask(&self, at: usize, request: Request) -> Reply {
        self.ports[at].ask(request).await.expect("servers answer")
    }

    /// Writes keys together.
    async fn write(&self, at: usize, writes: &[(u64, i64)], deps: Deps) -> Vec<Clock> {
        let writes = writes.iter().map(|&(n, value)| (key(n), Value::Int(value)));
        let writes = writes.collect();
        match self.ask(at, Request::Flush { writes, deps }).await {
            Reply::Flushed { clocks, .. } => clocks,
            other => panic!("{other:?}"),
        }
    }

    /// An optimistic read.
    async fn read(&self, at: usize, flow: &mut Workflow, n: u64) -> Result<Option<i64>, Failure> {
        let pick = |key: &Key| Some((key.clone(), flow.seen.get(key)?.clone()));
        let request = Request::Read {
            attempt: attempt(flow.root),
            read: flow.read.clone(),
            seen: pick(&key(n)).into_iter().collect(),
            floor: Deps::new(),
            keys: vec![key(n)],
        };
        let got = match self.ask(at, request).await {
            Reply::Read { got, .. } => got,
            Reply::Failed(failure) => return Err(failure),
            other => panic!("{other:?}"),
        };
        let [got] = got.as_slice() else {
            panic!("{got:?}");
        };
        let held = Held {
            clock: got.line.clock.clone(),
            at: got.at,
        };
        flow.read.insert(key(n), held);
        for (key, clock) in &got.line.deps {
            let at = got.deps_at;
            let clock = clock.clone();
            flow.seen.insert(key.clone(), Held { clock, at });
        }
        Ok(number(got))
    }

    async fn snapshot(&self, at: usize, root: u64, keys: &[u64]) -> Vec<Option<i64>> {
        let request = Request::Snapshot {
            attempt: attempt(root),
            home: 1,
            floor: Deps::new(),
            keys: keys.iter().map(|&n| key(n)).collect(),
        };
        match self.ask(at, request).await {
            Reply::Read { got, .. } => got.iter().map(number).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn end(&self, root: u64) {
        self.ports[0].tell(Request::End {
            attempt: attempt(root),
            servers: vec![0, 1, 2],
        });
    }
}

/// What server 1 shows of A after it has fetched B, which depends on a newer A.
fn seen_after_its_dependent(bug: Option<Bug>) -> Option<i64> {
    let seen = std::rc::Rc::new(std::cell::Cell::new(None));
    let out = std::rc::Rc::clone(&seen);
    bench(100 * SECOND, bug, move |bench| async move {
        bench.write(0, &[(A, 1)], Deps::new()).await;
        let mut early = Workflow::new(1);
        assert_eq!(bench.read(1, &mut early, A).await, Ok(Some(1)));
        let clocks = bench.write(0, &[(A, 2)], Deps::new()).await;
        let deps = BTreeMap::from([(key(A), clocks[0].clone())]);
        bench.write(2, &[(B, 3)], deps).await;
        let mut late = Workflow::new(2);
        assert_eq!(bench.read(1, &mut late, B).await, Ok(Some(3)));
        let mut other = Workflow::new(3);
        out.set(bench.read(1, &mut other, A).await.unwrap());
    });
    seen.get()
}

#[test]
fn a_line_is_shown_with_what_it_depends_on_though_nothing_was_refreshed() {
    assert_eq!(seen_after_its_dependent(None), Some(2));
    assert_eq!(seen_after_its_dependent(Some(Bug::AdmitsAlone)), Some(1));
}

/// What server 1 shows of A and B some rounds after both were written elsewhere, if one fits into a
/// round.
fn refreshed(bug: Option<Bug>) -> [Option<i64>; 2] {
    let seen = std::rc::Rc::new(std::cell::Cell::new([None; 2]));
    let out = std::rc::Rc::clone(&seen);
    let config = Config {
        period: SECOND,
        batch: 1,
        bug,
        ..Config::default()
    };
    bench_of(config, move |bench| async move {
        bench.write(0, &[(A, 1)], Deps::new()).await;
        bench.write(0, &[(B, 1)], Deps::new()).await;
        for n in [A, B] {
            let mut early = Workflow::new(n);
            assert_eq!(bench.read(1, &mut early, n).await, Ok(Some(1)));
            bench.end(early.root);
        }
        // Both become known between two rounds.
        bench.world.sleep(2 * SECOND).await;
        bench.write(0, &[(A, 2)], Deps::new()).await;
        bench.write(0, &[(B, 2)], Deps::new()).await;
        bench.world.sleep(5 * SECOND).await;
        let mut shown = [None; 2];
        for (shown, n) in shown.iter_mut().zip([A, B]) {
            let mut late = Workflow::new(10 + n);
            *shown = bench.read(1, &mut late, n).await.unwrap();
        }
        out.set(shown);
    });
    seen.get()
}

#[test]
fn what_does_not_fit_into_a_round_is_fetched_in_the_next_one() {
    assert_eq!(refreshed(None), [Some(2), Some(2)]);
    let lost = refreshed(Some(Bug::LosesLeftovers));
    assert!(lost.contains(&Some(1)), "{lost:?}");
}

/// What is found in A and B together if B depends on an A that is written only after the A before it
/// was fetched for that. And what somebody else finds in A then.
fn fetched_too_early(bug: Option<Bug>) -> (Result<Vec<Option<i64>>, Failure>, Option<i64>) {
    let seen = std::rc::Rc::new(std::cell::RefCell::new((Ok(Vec::new()), None)));
    let out = std::rc::Rc::clone(&seen);
    bench(100 * SECOND, bug, move |bench| async move {
        let clocks = bench.write(0, &[(A, 1)], Deps::new()).await;
        let mut next = clocks[0].clone();
        let (slot, many) = clocks[0].iter().next().unwrap();
        next.raise(slot, many + 1);
        let deps = BTreeMap::from([(key(A), next.clone())]);
        bench.write(2, &[(B, 3)], deps).await;
        let write = async {
            bench.world.sleep(300 * MS).await;
            let clocks = bench.write(0, &[(A, 2)], Deps::new()).await;
            assert_eq!(clocks, [next]);
        };
        let look = bench.ask(
            1,
            Request::Read {
                attempt: attempt(91),
                read: Holds::new(),
                seen: Holds::new(),
                floor: Deps::new(),
                keys: vec![key(A), key(B)],
            },
        );
        let (found, ()) = futures_util::future::join(look, write).await;
        let found = match found {
            Reply::Read { got, .. } => Ok(got.iter().map(number).collect()),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        };
        let mut other = Workflow::new(92);
        let later = bench.read(1, &mut other, A).await.unwrap();
        *out.borrow_mut() = (found, later);
    });
    seen.replace((Ok(Vec::new()), None))
}

#[test]
fn a_line_that_was_fetched_before_its_dependent_is_fetched_again() {
    let right = fetched_too_early(None);
    assert_eq!(right, (Ok(vec![Some(2), Some(3)]), Some(2)));
    let wrong = fetched_too_early(Some(Bug::DepsUnchecked));
    // The cut has a B that is newer than its A. Whoever reads both notices, and nothing fits.
    assert!(
        matches!(wrong, (Err(Failure::Aborted(_)), Some(1))),
        "{wrong:?}"
    );
}

/// What a workflow finds in B, which depends on a newer A than the one that it has read, long after
/// all servers show both.
fn beside_an_older_line(bug: Option<Bug>) -> Result<Option<i64>, Failure> {
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Ok(None)));
    let out = std::rc::Rc::clone(&seen);
    bench(20 * MS, bug, move |bench| async move {
        bench.write(0, &[(A, 1)], Deps::new()).await;
        bench.write(0, &[(B, 1)], Deps::new()).await;
        for at in 0..3 {
            for n in [A, B] {
                let mut early = Workflow::new(10 * n + at as u64);
                assert_eq!(bench.read(at, &mut early, n).await, Ok(Some(1)));
                bench.end(early.root);
            }
        }
        let mut flow = Workflow::new(1);
        assert_eq!(bench.read(1, &mut flow, A).await, Ok(Some(1)));
        let clocks = bench.write(0, &[(A, 2)], Deps::new()).await;
        bench.world.sleep(SECOND).await;
        let deps = BTreeMap::from([(key(A), clocks[0].clone())]);
        bench.write(0, &[(B, 2)], deps).await;
        bench.world.sleep(SECOND).await;
        *out.borrow_mut() = bench.read(2, &mut flow, B).await;
    });
    seen.replace(Ok(None))
}

#[test]
fn a_dependency_is_stable_only_when_nobody_holds_something_older() {
    let right = beside_an_older_line(None);
    assert_ne!(right, Ok(Some(2)), "it sees A before it and B after it");
    let wrong = beside_an_older_line(Some(Bug::CoversEarly));
    assert_eq!(wrong, Ok(Some(2)));
}

#[test]
fn a_conservative_snapshot_is_the_same_on_all_servers_and_stays() {
    bench(20 * MS, None, |bench| async move {
        bench.write(0, &[(A, 1), (B, 1)], Deps::new()).await;
        for (at, root) in [(0, 91), (1, 92), (2, 93)] {
            bench.snapshot(at, root, &[A, B]).await;
        }
        let first = bench.snapshot(2, 7, &[A]).await;
        for n in 2..6 {
            bench.write(0, &[(A, n), (B, n)], Deps::new()).await;
            bench.world.sleep(50 * MS).await;
            for at in 0..3 {
                assert_eq!(bench.snapshot(at, 7, &[A, B]).await, [first[0], first[0]]);
            }
        }
        assert_eq!(first, [Some(1)]);
        assert_eq!(bench.snapshot(1, 8, &[A, B]).await, [Some(5), Some(5)]);
    });
}

#[test]
fn an_optimistic_workflow_reads_the_older_state_where_it_was_and_is_aborted_if_there_is_none() {
    for (knows_both, expected) in [(true, Ok(Some(1))), (false, Err(()))] {
        bench(20 * MS, None, move |bench| async move {
            bench.write(2, &[(A, 1), (B, 1)], Deps::new()).await;
            // What is stable is no dependency any more: A alone is fetched where B never was.
            bench.world.sleep(200 * MS).await;
            let mut warm = Workflow::new(50);
            bench.read(0, &mut warm, A).await.unwrap();
            if knows_both {
                bench.read(0, &mut warm, B).await.unwrap();
            }
            bench.end(50);
            bench.world.sleep(100 * MS).await;
            let mut flow = Workflow::new(51);
            assert_eq!(bench.read(0, &mut flow, A).await, Ok(Some(1)));
            bench.write(2, &[(A, 2), (B, 2)], Deps::new()).await;
            bench.world.sleep(100 * MS).await;
            let read = bench.read(1, &mut flow, B).await;
            match expected {
                Ok(value) => assert_eq!(read, Ok(value)),
                Err(()) => assert!(matches!(read, Err(Failure::Aborted(_))), "{read:?}"),
            }
            // One that has read nothing else sees the new ones.
            let mut other = Workflow::new(52);
            assert_eq!(bench.read(1, &mut other, B).await, Ok(Some(2)));
            assert_eq!(bench.read(0, &mut other, A).await, Ok(Some(2)));
        });
    }
}

#[test]
fn an_upstream_server_that_keeps_nothing_any_more_is_an_abort() {
    bench(20 * MS, None, |bench| async move {
        bench.write(2, &[(A, 1), (B, 1)], Deps::new()).await;
        let mut flow = Workflow::new(51);
        bench.read(0, &mut flow, B).await.unwrap();
        flow = Workflow::new(51);
        assert_eq!(bench.read(0, &mut flow, A).await, Ok(Some(1)));
        bench.end(51);
        bench.write(2, &[(A, 2), (B, 2)], Deps::new()).await;
        bench.world.sleep(100 * MS).await;
        let read = bench.read(1, &mut flow, B).await;
        assert!(matches!(read, Err(Failure::Aborted(_))), "{read:?}");
    });
}

#[test]
fn dependencies_do_not_grow_and_what_ends_is_forgotten() {
    bench(20 * MS, None, |bench| async move {
        let mut deps = Deps::new();
        for n in 0..200 {
            let at = (n % 3) as usize;
            let clocks = bench.write(at, &[(n % 10, n as i64)], deps).await;
            let mut flow = Workflow::new(n + 1);
            bench.read((at + 1) % 3, &mut flow, n % 10).await.unwrap();
            bench.end(n + 1);
            deps = BTreeMap::from([(key(n % 10), clocks[0].clone())]);
        }
        bench.world.sleep(SECOND).await;
        for server in 0..3 {
            let node = triptych_refreshed::cluster::server(server);
            let gauge = |name| bench.cluster.gauge(node, name).unwrap();
            assert_eq!(
                (gauge("workflows"), gauge("uncovered"), gauge("jobs")),
                (0, 0, 0)
            );
            assert_eq!(gauge("lines"), gauge("keys"));
            // Less than ten for each write: what was written within some tens of milliseconds.
            assert!(gauge("deps") < 10 * gauge("flushed"), "{}", gauge("deps"));
        }
    });
}

#[test]
fn nonsense_is_answered_in_words() {
    bench(20 * MS, None, |bench| async move {
        let request = Request::Snapshot {
            attempt: attempt(1),
            home: 9,
            floor: Deps::new(),
            keys: vec![key(A)],
        };
        let reply = bench.ask(0, request).await;
        assert!(matches!(reply, Reply::Failed(Failure::Bad(_))), "{reply:?}");
        let mut flow = Workflow::new(2);
        let held = Held {
            clock: Clock::from(vec![9, 9]),
            at: 77,
        };
        flow.seen.insert(key(A), held);
        let read = bench.read(0, &mut flow, A).await;
        assert!(matches!(read, Err(Failure::Bad(_))), "{read:?}");
        let twice = vec![(key(A), Value::Int(1)), (key(A), Value::Int(2))];
        let request = Request::Flush {
            writes: twice,
            deps: Deps::new(),
        };
        let reply = bench.ask(0, request).await;
        assert!(matches!(reply, Reply::Failed(Failure::Bad(_))), "{reply:?}");
        let clocks = bench.write(0, &[(A, 5)], Deps::new()).await;
        assert_eq!(clocks.len(), 1, "the server goes on");
    });
}
