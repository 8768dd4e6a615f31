//! Requests that are asked again: each counts once, or its client is told that nobody knows any more.

mod mesh_world;

use futures_channel::mpsc;
use futures_util::StreamExt;
use mesh_world::aimed::{Cluster, S1, S2, Verdict, doc, ensure, on_cluster};
use std::ops::Range;
use triptych_api::{Change, Value};
use triptych_mesh::context::Own;
use triptych_mesh::{Clock, Config, Failure, Level, Message, Op, Reply, Request, WriteId};
use triptych_nodes::NodeId;
use triptych_nodes::sim::{Client, Place};
use triptych_world::{MS, Nanos, SECOND};

/// A client that says what it likes.
struct Raw {
    client: Client<Message>,
    replies: mpsc::UnboundedReceiver<Message>,
}

impl Raw {
    fn of(it: &Cluster, host: NodeId) -> Self {
        let (sender, replies) = mpsc::unbounded();
        let client = it.mesh.sim().client(Place::With(host), move |_, message| {
            // The test may be over.
            let _ = sender.unbounded_send(message);
        });
        Raw { client, replies }
    }

    async fn ask(&mut self, server: NodeId, age: Nanos, request: Request) -> Reply {
        let asked = Message::Request {
            op: 1,
            age,
            request,
        };
        self.client.send(server, asked);
        match self.replies.next().await {
            Some(Message::Reply { reply, .. }) => reply,
            other => Reply::Failed(Failure::Bad(format!("{other:?}"))),
        }
    }

    /// Makes a server accept other writes.
    async fn others(&mut self, server: NodeId, numbers: Range<u64>) -> Verdict {
        for number in numbers.clone() {
            let request = Request::Write {
                write: WriteId { client: 7, number },
                deps: Clock::default(),
                own: Own::default(),
                ops: vec![(doc(&format!("o{}", number % 50)), Op::Put(Value::Int(1)))],
            };
            let asked = Message::Request {
                op: 2,
                age: 0,
                request,
            };
            self.client.send(server, asked);
        }
        for _ in numbers {
            let reply = self.replies.next().await;
            let written = matches!(
                reply,
                Some(Message::Reply {
                    reply: Reply::Written { .. },
                    ..
                })
            );
            ensure(written, &format!("{reply:?}"))?;
        }
        Ok(())
    }
}

fn add(number: u64) -> Request {
    Request::Update {
        write: WriteId { client: 1, number },
        deps: Clock::default(),
        own: Vec::new(),
        key: doc("a"),
        condition: None,
        changes: vec![Change::add("n", 1)],
    }
}

/// More requests than any server remembers, and far more writes of the key than are kept unfolded.
#[test]
fn one_that_is_repeated_after_many_others_does_not_count_twice() {
    let mut config = Config::of(3, Level::Async);
    config.timing.keep_for = 20 * MS;
    config.timing.store_every = 10 * MS;
    let verdict = on_cluster(config, None, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        let mut raw = Raw::of(&it, S1);
        let begun = it.world.now();
        let first = raw.ask(S1, 0, add(1)).await;
        ensure(matches!(first, Reply::Updated { .. }), "it is not done")?;
        for number in 2..60 {
            raw.ask(S1, 0, add(number)).await;
        }
        // While it is known, it is the same one, everywhere.
        it.quiet().await?;
        for server in [S1, S2] {
            let age = it.world.now() - begun;
            let again = raw.ask(server, age, add(1)).await;
            let same = match (&first, &again) {
                (Reply::Updated { version: a, .. }, Reply::Updated { version: b, .. }) => a == b,
                _ => false,
            };
            ensure(same, &format!("{server} does not know it: {again:?}"))?;
        }
        let before = it.count(S1, &key).await;
        for thousand in 0..20 {
            let from = 1_000 * thousand;
            raw.others(S1, from..from + 1_000).await?;
        }
        it.quiet().await?;
        let recent = it.world.now();
        raw.ask(S1, 0, add(100)).await;
        it.quiet().await?;
        for server in [S1, S2] {
            let age = it.world.now() - begun;
            let again = raw.ask(server, age, add(1)).await;
            let told = again == Reply::Failed(Failure::Forgotten);
            ensure(told, &format!("{server} answers {again:?}"))?;
            // One that is not known, and was asked since, was not done.
            let age = it.world.now() - recent;
            let new = raw.ask(server, age, add(200 + u64::from(server.0))).await;
            ensure(matches!(new, Reply::Updated { .. }), &format!("{new:?}"))?;
        }
        it.quiet().await?;
        let after = it.count(S1, &key).await;
        ensure(
            after == before.map(|n| n + 3),
            &format!("{before:?} and three more are {after:?}"),
        )
    });
    assert_eq!(verdict, Ok(()));
}

/// A server that joins knows as many requests as the one that it has its data from.
#[test]
fn a_server_that_joins_knows_what_was_asked_before() {
    let verdict = on_cluster(Config::of(3, Level::Async), None, |it| async move {
        let mut raw = Raw::of(&it, S1);
        it.world.sleep(SECOND).await;
        let begun = it.world.now();
        raw.ask(S1, 0, add(1)).await;
        it.world.sleep(100 * MS).await;
        it.kill(S2);
        it.ring_of(S1, 2).await?;
        it.restart(S2);
        it.ready().await?;
        for number in [1, 2] {
            let age = it.world.now() - begun;
            let again = raw.ask(S2, age, add(number)).await;
            ensure(
                matches!(again, Reply::Updated { .. }),
                &format!("{number}: {again:?}"),
            )?;
        }
        it.quiet().await?;
        it.comes_to(S1, &doc("a"), 2).await
    });
    assert_eq!(verdict, Ok(()));
}
