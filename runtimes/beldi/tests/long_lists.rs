//! Lists whose rows do not fit into one page of the store: a megabyte, whatever is asked of them
//! (pitfall P12 of the specification). So a look at all rows is no snapshot of them.

#[path = "common/between.rs"]
mod between;
mod common;
#[path = "common/crashes.rs"]
#[allow(dead_code)] // Its tables of configurations are for others.
mod crashes;

use between::{Between, Fate, change, row, word};
use common::{app_of, place_behind};
use crashes::{End, crash};
use std::cell::Cell;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Handler, Result};
use triptych_beldi::Config;
use triptych_faas::{Deployment, Platform};
use triptych_model::{Name, Outcome, State, Value};
use triptych_store::{Request, Store};
use triptych_world::fault::CrashKind;
use triptych_world::{Life, Options, SECOND, Scope, World};

const ENTRIES: i64 = 24;

/// Two entries a row, and each row carries the pad: the list is longer than a page by the end.
async fn pile(ctx: &mut Ctx) -> Result<Value> {
    ctx.update(
        "front",
        "pile",
        None,
        vec![Change::set("pad", "x".repeat(120_000))],
    )
    .await?;
    for n in 0..ENTRIES {
        ctx.update("front", "pile", None, vec![Change::append("list", n)])
            .await?;
    }
    Ok(Value::Null)
}

fn app() -> App {
    let front: Handler = Rc::new(|ctx, _: Call| Box::pin(async move { pile(ctx).await }));
    app_of(vec![("Front", &["front"], front)])
}

fn run(nth: Option<u32>) -> End {
    let config = Config {
        row_capacity: 2,
        ..Config::paper(60 * SECOND, 60 * SECOND)
    };
    let faults = nth.map(|nth| crash(nth, CrashKind::After));
    crashes::run(app(), "Pile", config, faults.into_iter().collect())
}

fn listed(end: &End) -> Option<usize> {
    let list = end.state.get("front", "pile")?.get("list")?.as_list()?;
    Some(list.len())
}

#[test]
fn a_log_key_on_a_later_page_is_found() {
    let reference = run(None);
    assert_eq!(reference.outcome, Outcome::Ok);
    assert_eq!(listed(&reference), Some(ENTRIES as usize));
    for before in [1, 2, 4, 7, 11] {
        let nth = reference.effects - before;
        let end = run(Some(nth));
        assert_eq!(listed(&end), Some(ENTRIES as usize), "crashed at {nth}");
        assert_eq!(end.again.0, Outcome::Ok, "crashed at {nth}");
    }
}

/// Adds one to `front[big]` in a transaction.
fn counter() -> App {
    let front: Handler = Rc::new(|ctx, _: Call| {
        Box::pin(async move {
            ctx.transaction(async |tx: &mut Ctx| {
                let changes = vec![Change::add("n", 1)];
                tx.update("front", "big", None, changes).await
            })
            .await?;
            Ok(Value::Null)
        })
    });
    app_of(vec![("Front", &["front"], front)])
}

/// A value that makes eight rows a page.
fn large() -> Value {
    Value::map([("n", Value::Int(0)), ("pad", "x".repeat(120_000).into())])
}

/// A list of ten rows of which the tail is on the second page.
fn two_pages() -> Vec<Request> {
    let names = [
        "HEAD", "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "tail",
    ];
    let one = |at: usize| {
        let mut more = vec![("V", large())];
        if let Some(next) = names.get(at + 1) {
            more.extend([("NEXTROW", Value::str(next)), ("LOGSIZE", Value::Int(100))]);
        }
        row("front", "big", names[at], &more)
    };
    (0..names.len()).map(one).collect()
}

/// One request, while others fill the tail and append a row that belongs onto the first page, after
/// that was read by the nth search. How many searches there were comes with the end.
fn appended_between_pages(nth: Option<u32>) -> (Outcome, State, u32) {
    World::simulate(1, Options::default(), move |world| async move {
        let searches = Rc::new(Cell::new(0));
        let count = Rc::clone(&searches);
        let hook = move |request: &Request| match request {
            Request::Query { table, start, .. } if &**table == "front" && start.is_none() => {
                count.set(count.get() + 1);
                if nth != Some(count.get() - 1) {
                    return Fate::Served;
                }
                // The state goes along; the first search is before the lock is taken.
                let mut state = vec![("V", large())];
                if nth > Some(0) {
                    state.push(("HOLDER", word("r0/0.0", 0)));
                }
                let link = [
                    ("LOGSIZE", Some(Value::Int(100))),
                    ("NEXTROW", Some(Value::str("0"))),
                ];
                Fate::Before(vec![
                    row("front", "big", "0", &state),
                    change("front", "big", "tail", &link),
                ])
            }
            _ => Fate::Served,
        };
        let config = Config::paper(60 * SECOND, 60 * SECOND);
        let between = |store| Rc::new(Between::new(store, Box::new(hook))) as Rc<dyn Store>;
        let (store, pool, beldi) = place_behind(&world, counter(), config, between);
        beldi.prepare().await.unwrap();
        pool.place(&*beldi);
        for request in two_pages() {
            store
                .call(&world.background_scope(), request)
                .await
                .unwrap();
        }
        let scope = Scope::new(world.begin_request(0, 0), 0, Life::new());
        let payload = beldi.request("r0", "", Value::map::<&str>([]), &Value::Null);
        let reply = pool.invoke(&scope, &Name::from("Front"), payload).await;
        let outcome = beldi.answer(reply).outcome;
        pool.stop_timers();
        (outcome, beldi.dump().await.unwrap(), searches.get())
    })
    .expect("no deadlock")
}

#[test]
fn a_row_that_is_appended_while_the_pages_are_read_is_not_taken_for_an_empty_one() {
    let (_, _, searches) = appended_between_pages(None);
    assert!(searches >= 2, "to lock and to release");
    for nth in 0..searches {
        let (outcome, state, _) = appended_between_pages(Some(nth));
        assert_eq!(outcome, Outcome::Ok, "{nth}");
        assert_eq!(state.residue, Vec::<String>::new(), "{nth}");
        assert_eq!(state.corrupt, Vec::<String>::new(), "{nth}");
        let n = state
            .get("front", "big")
            .and_then(|row| row.get("n")?.as_int());
        assert_eq!(n, Some(1), "{nth}");
    }
}
