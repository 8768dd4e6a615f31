//! Order and durability: sessions that read a list while others add to it, with crashes.

use crate::Depth;
use crate::book::Book;
use crate::stand::{self, Ask, Setup, simulate};
use std::cell::RefCell;
use std::rc::Rc;
use triptych_api::model::Outcome;
use triptych_api::{App, Call, Change, Ctx, Result, Value};
use triptych_site::RuntimeEntry;
use triptych_world::fault::Faults;
use triptych_world::{MS, Options};

pub(crate) fn check(entry: &RuntimeEntry, depth: Depth, book: &mut Book) {
    for seed in 0..depth.of(6, 60) {
        let case = format!("seed {seed}");
        match crowd(entry, seed) {
            Ok(found) => {
                book.note("session", &case, found.backwards);
                book.note("listed", &case, found.missing);
                book.note("durable", &case, found.lost);
            }
            Err(told) => {
                for requirement in ["session", "listed", "durable"] {
                    book.note(requirement, &case, Some(told.clone()));
                }
            }
        }
    }
}

/// The first violation of each requirement, if there is one.
#[derive(Default)]
struct Found {
    backwards: Option<String>,
    missing: Option<String>,
    lost: Option<String>,
}

async fn board(ctx: &mut Ctx, call: Call) -> Result<Value> {
    if &*call.op == "Post" {
        let n = call.input.as_int().unwrap_or_default();
        ctx.write("posts", &format!("p{n}"), &n).await?;
        ctx.update("lists", "all", None, vec![Change::append("posts", n)])
            .await?;
        return Ok(Value::Null);
    }
    let list: Option<Value> = ctx.read("lists", "all").await?;
    let listed = list.as_ref().and_then(|list| list.get("posts")?.as_list());
    let listed = listed.unwrap_or_default().to_vec();
    let keys = listed
        .iter()
        .map(|n| format!("p{}", n.as_int().unwrap_or_default()));
    let posts: Vec<Option<Value>> = ctx.read_many("posts", keys).await?;
    let missing = listed.iter().zip(&posts).filter(|(_, post)| post.is_none());
    let missing = Value::list(missing.map(|(n, _)| n.clone()));
    Ok(Value::map([
        ("listed", Value::list(listed)),
        ("missing", missing),
    ]))
}

fn app() -> App {
    let tables = ["posts", "lists"];
    stand::app(vec![stand::function("Board", &tables, |ctx, call| {
        Box::pin(board(ctx, call))
    })])
}

fn ask(op: &'static str, n: u64) -> Ask {
    let input = Value::Int(n as i64);
    Ask {
        function: "Board",
        op,
        input,
    }
}

fn crowd(entry: &RuntimeEntry, seed: u64) -> std::result::Result<Found, String> {
    const WRITERS: u64 = 4;
    const READERS: u64 = 3;
    const EACH: u64 = 8;
    let faults = Faults {
        crash_rate: 0.15,
        ..Faults::default()
    };
    let options = Options {
        shuffle: true,
        faults,
        ..Options::default()
    };
    let setup = Setup {
        seed,
        options,
        ..Setup::default()
    };
    simulate(entry, setup, app(), |stand| async move {
        let found: Rc<RefCell<Found>> = Rc::default();
        let acknowledged: Rc<RefCell<Vec<u64>>> = Rc::default();
        let writer = |w: u64| {
            let (stand, acknowledged) = (Rc::clone(&stand), Rc::clone(&acknowledged));
            let world = stand.world.clone();
            world.spawn("writer", async move {
                let mut session = Value::Null;
                for n in (0..EACH).map(|n| w * EACH + n) {
                    let answer = stand.ask(n, &ask("Post", n), &session).await;
                    if answer.outcome == Outcome::Ok {
                        acknowledged.borrow_mut().push(n);
                        session = answer.session;
                    }
                    // What is written has time to get about while others read.
                    stand.world.sleep(20 * MS).await;
                }
            })
        };
        let reader = |r: u64| {
            let (stand, found) = (Rc::clone(&stand), Rc::clone(&found));
            let world = stand.world.clone();
            world.spawn("reader", async move {
                let (mut session, mut before) = (Value::Null, Vec::new());
                for n in 0..EACH {
                    let n = 1_000 + r * EACH + n;
                    let answer = stand.ask(n, &ask("Read", n), &session).await;
                    if answer.outcome != Outcome::Ok {
                        continue;
                    }
                    session = answer.session;
                    let list = |name| answer.output.get(name).and_then(Value::as_list);
                    let listed = list("listed").unwrap_or_default().to_vec();
                    if let Some(gone) = before.iter().find(|post| !listed.contains(post)) {
                        let told = format!("reader {r} saw post {gone:?}, and later did not");
                        found.borrow_mut().backwards.get_or_insert(told);
                    }
                    if let Some(post) = list("missing").unwrap_or_default().first() {
                        let told = format!("post {post:?} is listed and not stored");
                        found.borrow_mut().missing.get_or_insert(told);
                    }
                    before = listed;
                    stand.world.sleep(30 * MS).await;
                }
            })
        };
        let clients: Vec<_> = (0..WRITERS)
            .map(writer)
            .chain((0..READERS).map(reader))
            .collect();
        for client in clients {
            client.await;
        }
        // Whether everything ends is for others to say.
        drop(stand.settle().await);
        stand.pool.stop_timers();
        let state = stand.dump().await?;
        let list = state
            .get("lists", "all")
            .and_then(|row| row.get("posts")?.as_list());
        let listed = list.unwrap_or_default();
        let mut found = found.take();
        for n in acknowledged.borrow().iter() {
            let stored = state.get("posts", &format!("p{n}")).is_some();
            let in_list = listed.contains(&Value::Int(*n as i64));
            if !stored || !in_list {
                let told =
                    format!("post {n} was acknowledged; stored: {stored}, listed: {in_list}");
                found.lost.get_or_insert(told);
            }
        }
        Ok(found)
    })
}
