//! What becomes of the others when a server dies with writes that it had acknowledged and nobody else
//! has. Versions of other servers may count them: their clients depend on them, or only share a server
//! with clients who do.

mod mesh_world;

use mesh_world::aimed::{Cluster, doc, ensure, on_cluster};
use std::sync::Arc;
use triptych_api::{Change, Value};
use triptych_mesh::{
    Clock, Config, Context, Core, Entry, Failure, Key, Level, Op, Reply, Request, Slot, Version,
    WriteId,
};
use triptych_nodes::NodeId;
use triptych_world::SECOND;

/// One client with a context, which appends to lists and looks at them.
struct Client {
    number: u64,
    context: Context,
}

impl Client {
    fn new(number: u64) -> Self {
        Client {
            number,
            context: Context::default(),
        }
    }

    async fn append(
        &mut self,
        it: &Cluster,
        server: NodeId,
        key: &Key,
        element: i64,
    ) -> Result<Arc<Version>, String> {
        let update = Request::Update {
            write: it.write_id(self.number),
            deps: self.context.deps.clone(),
            own: self.context.own.clone(),
            key: key.clone(),
            condition: None,
            changes: vec![Change::append("l", Value::Int(element))],
        };
        match it.ask(server, update, SECOND).await {
            Some(Ok(Reply::Updated {
                version: Some(version),
                ..
            })) => {
                self.context.wrote(Arc::clone(&version));
                Ok(version)
            }
            other => Err(format!("{server} answers {other:?}")),
        }
    }

    /// Replaces a value, whatever it was.
    async fn put(&self, it: &Cluster, server: NodeId) -> Option<Result<Reply, Failure>> {
        let write = Request::Write {
            write: it.write_id(self.number),
            deps: self.context.deps.clone(),
            own: self.context.own_clock(),
            ops: vec![(doc("b"), Op::Put(Value::Int(1)))],
        };
        it.ask(server, write, SECOND).await
    }

    async fn list(&self, it: &Cluster, server: NodeId, key: &Key) -> Result<Vec<i64>, String> {
        let read = Request::Read {
            deps: self.context.deps.clone(),
            own: self.context.own.clone(),
            keys: vec![key.clone()],
        };
        let seen = match it.ask(server, read, SECOND).await {
            Some(Ok(Reply::Read { seen, .. })) => seen,
            other => return Err(format!("{server} answers {other:?}")),
        };
        let document = match seen.into_iter().next().and_then(|seen| seen.value) {
            Some(Value::Map(document)) => document,
            _ => return Ok(Vec::new()),
        };
        match document.get("l") {
            Some(Value::List(list)) => Ok(list.iter().filter_map(Value::as_int).collect()),
            _ => Ok(Vec::new()),
        }
    }
}

/// Makes a server lose a write that the clock of its predecessor counts, and takes it off the ring.
/// The predecessor does not hear how many of its versions count: the word from its successor, which
/// has what is left of it, is held up. The successor, the predecessor, and what was lost.
async fn lose_one(it: &Cluster, key: &Key) -> Result<(NodeId, NodeId, Arc<Version>), String> {
    it.warm(key).await?;
    let slot = |server: &NodeId| it.mesh.gauge(*server, "slot");
    let mut servers = it.mesh.servers().to_vec();
    servers.sort_by_key(slot);
    let &[dead, successor, predecessor] = &servers[..] else {
        return Err("there are not three servers".to_owned());
    };
    let sim = it.mesh.sim();
    sim.cut(&[dead], &[successor, predecessor]);
    let lost = it.add(dead, &doc("lost")).await?;
    let carry = Request::Update {
        write: it.write_id(2),
        deps: Clock::default(),
        own: vec![Arc::clone(&lost)],
        key: key.clone(),
        condition: None,
        changes: vec![Change::add("n", 1)],
    };
    let carried = it.ask(predecessor, carry, SECOND).await;
    ensure(matches!(carried, Some(Ok(_))), "it is not carried on")?;
    it.kill(dead);
    sim.cut(&[successor], &[predecessor]);
    it.ring_of(successor, 2).await?;
    it.ring_of(predecessor, 2).await?;
    let heard = it.mesh.gauge(predecessor, "frozen");
    ensure(heard == Some(0), "the word was not held up")?;
    Ok((successor, predecessor, lost))
}

/// One server knows that a write was lost which the clock of another one counts, and that one does
/// not. A client writes at this one and then at the other: the second version counts less than the
/// first one of what was lost. Both servers show the client its writes in the order in which it made
/// them, as everybody sees them in the end.
#[test]
fn own_writes_keep_their_order_though_one_of_them_counts_a_lost_one() {
    let verdict = on_cluster(Config::of(3, Level::Async), None, |it| async move {
        let key = doc("a");
        let (knows, does_not, _) = lose_one(&it, &key).await?;
        let mut client = Client::new(3);
        let first = client.append(&it, does_not, &key, 1).await?;
        let second = client.append(&it, knows, &key, 2).await?;
        let raw = !second.clock.covers(&first.clock) && first.clock.lex(&second.clock).is_gt();
        ensure(
            raw && first.is_counted_by(&second.clock),
            "the clocks differ otherwise",
        )?;
        for server in [knows, does_not] {
            let list = client.list(&it, server, &key).await?;
            ensure(list == [1, 2], &format!("{server} shows {list:?}"))?;
        }
        it.heal();
        it.quiet().await?;
        for server in [knows, does_not] {
            let list = Client::new(4).list(&it, server, &key).await?;
            ensure(list == [1, 2], &format!("{server} ends with {list:?}"))?;
        }
        Ok(())
    });
    assert_eq!(verdict, Ok(()));
}

/// A client that knows nothing of a lost write makes one of its own at a server whose clock counts
/// that. Nobody tells it that something of its own was lost, whatever it asks and wherever.
#[test]
fn only_those_who_made_a_lost_write_are_told_of_it() {
    let verdict = on_cluster(Config::of(3, Level::Async), None, |it| async move {
        let key = doc("a");
        let (knows, does_not, lost) = lose_one(&it, &key).await?;
        let mut client = Client::new(3);
        let first = client.append(&it, does_not, &key, 1).await?;
        ensure(
            lost.is_counted_by(&first.clock),
            "its clock does not count what was lost",
        )?;
        for server in [knows, does_not] {
            let answer = client.put(&it, server).await;
            let written = matches!(answer, Some(Ok(Reply::Written { .. })));
            ensure(written, &format!("{server} answers {answer:?}"))?;
        }
        let mut loser = Client::new(1);
        loser.context.wrote(lost);
        let answer = loser.put(&it, knows).await;
        let told = matches!(answer, Some(Err(Failure::Lost(_))));
        ensure(told, &format!("the one who made it is told {answer:?}"))
    });
    assert_eq!(verdict, Ok(()));
}

/// A server is taken off the ring, does not hear of it, and goes on serving while its lease lasts. It
/// has a write that is lost with it, and one of another server whose clock counts that one. A snapshot
/// that counts the second without the first means the same to it as to the others, or nothing; and
/// whoever depends on the second, be it its own, is not shown the first.
#[test]
fn a_server_off_the_ring_shows_nothing_that_was_lost_with_it() {
    for ask in [Ask::Snapshot, Ask::Read, Ask::ReadOfOwn] {
        let body = move |it| async move { look_at_a_ghost(&it, ask).await };
        let verdict = on_cluster(Config::of(3, Level::Async), None, body);
        assert_eq!(verdict, Ok(()), "{ask:?}");
    }
}

/// What a server is asked that is off the ring.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// For a snapshot of another server.
    Snapshot,
    /// By a client that depends on that snapshot.
    Read,
    /// By a client whose own write it counts.
    ReadOfOwn,
}

async fn look_at_a_ghost(it: &Cluster, ask: Ask) -> Result<(), String> {
    let (key, of_lost) = (doc("a"), doc("lost"));
    it.warm(&key).await?;
    it.warm(&of_lost).await?;
    let slot = |server: &NodeId| it.mesh.gauge(*server, "slot");
    let mut servers = it.mesh.servers().to_vec();
    servers.sort_by_key(slot);
    let &[ghost, successor, predecessor] = &servers[..] else {
        return Err("there are not three servers".to_owned());
    };
    // It hears the others, who do not hear it.
    it.mesh.sim().cut(&[ghost], &[successor, predecessor]);
    it.mesh.cut_store(ghost, true);
    let lost = it.add(ghost, &of_lost).await?;
    let mut client = Client::new(2);
    client.context.wrote(Arc::clone(&lost));
    let carried = client.append(it, predecessor, &key, 1).await?;
    ensure(lost.is_counted_by(&carried.clock), "it is not carried on")?;
    it.ring_of(successor, 2).await?;
    let everywhere = || it.mesh.gauge(successor, "applied") == Some(1);
    it.until(everywhere, "it is never stable").await?;
    let request = Request::Snapshot {
        deps: Clock::default(),
    };
    let snapshot = match it.ask(successor, request, SECOND).await {
        Some(Ok(Reply::Snapshot { snapshot })) => snapshot,
        other => return Err(format!("{successor} answers {other:?}")),
    };
    let counts = carried.is_counted_by(&snapshot) && !lost.is_counted_by(&snapshot);
    ensure(counts, "the snapshot counts something else")?;
    let read = |deps: &Clock| Request::Read {
        deps: deps.clone(),
        own: Vec::new(),
        keys: vec![key.clone(), of_lost.clone()],
    };
    let request = match ask {
        Ask::Snapshot => Request::ReadAt {
            snapshot,
            own: Vec::new(),
            keys: vec![key.clone(), of_lost.clone()],
        },
        Ask::Read => read(&snapshot),
        Ask::ReadOfOwn => {
            let mut own = Context::default();
            own.wrote(carried);
            own.is_stable(&snapshot);
            ensure(own.own.is_empty(), "its own write still travels")?;
            read(&own.deps)
        }
    };
    // It serves others, and has both versions.
    let ring = it.mesh.gauge(ghost, "ring");
    let has = it.mesh.gauge(ghost, "received");
    let serves = it.ask(ghost, read(&Clock::default()), SECOND).await;
    let serves = matches!(serves, Some(Ok(_))) && (ring, has) == (Some(3), Some(2));
    ensure(serves, "it has heard of it, or has no lease any more")?;
    let answer = it.ask(ghost, request.clone(), 2 * SECOND).await;
    let failed = matches!(answer, Some(Err(Failure::Unavailable)));
    ensure(failed, &format!("the one off the ring answers {answer:?}"))?;
    let answer = it.ask(predecessor, request, SECOND).await;
    let Some(Ok(Reply::Read { seen, .. })) = answer else {
        return Err(format!("{predecessor} answers {answer:?}"));
    };
    let shows: Vec<bool> = seen.iter().map(|seen| seen.value.is_some()).collect();
    ensure(shows == [true, false], &format!("others show {seen:?}"))
}

/// A version that replaces a value.
fn put(origin: u16, clock: &[u64], key: &Key) -> Arc<Version> {
    Arc::new(Version {
        origin: Slot(origin),
        clock: Clock::from(clock.to_vec()),
        write: WriteId {
            client: u64::from(origin),
            number: 1,
        },
        ops: vec![(key.clone(), Op::Put(Value::Int(1)))],
    })
}

/// What the backing store has of a key with one write, whose clock is this.
fn row(version: &Version, clock: &Clock) -> Entry {
    let mut entry = Entry::default();
    let (_, op) = &version.ops[0];
    entry.add(clock, version.write, op);
    entry
}

/// A server that is off the ring may reach the backing store before it hears of that. What the others
/// have written there counts something without what this server has lost: it is not taken until the
/// server has heard how many versions count.
#[test]
fn rows_of_a_ring_that_has_moved_on_are_not_loaded() {
    let key = doc("a");
    let mut core = Core::new(Slot(2), false, None);
    let lost = put(0, &[1], &doc("lost"));
    let carried = put(1, &[1, 1], &key);
    core.arrive(&lost, 1, 3);
    core.arrive(&carried, 1, 3);
    let real = Clock::from(vec![0, 1]);
    assert!(core.is_closed(&carried.clock) && !core.is_closed(&real));
    assert!(!core.load(&key, row(&carried, &real), &real));
    assert!(core.applied().is_zero() && core.keys() == 0);
    core.freeze(Slot(0), 0);
    assert!(core.is_closed(&real));
    assert!(core.load(&key, row(&carried, &real), &real));
    assert_eq!((core.applied(), core.keys()), (&real, 1));
}

/// A client may have made up the clock of a version, so that it counts another one without what that
/// counts. Whoever has written it behind had applied all of that, and it is loaded.
#[test]
fn rows_with_clocks_that_a_client_made_up_are_loaded() {
    let key = doc("a");
    let mut core = Core::new(Slot(3), false, None);
    let first = put(0, &[1], &doc("b"));
    let second = put(1, &[1, 1], &doc("b"));
    let made_up = put(2, &[0, 1, 1], &key);
    for version in [&first, &second, &made_up] {
        core.arrive(version, 1, 4);
    }
    let counted = Clock::from(vec![1, 1, 1]);
    assert!(!core.is_closed(&made_up.clock));
    assert!(core.load(&key, row(&made_up, &made_up.clock), &counted));
    assert_eq!(core.applied(), &counted);
}
