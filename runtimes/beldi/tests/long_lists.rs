//! Lists whose rows do not fit into one page of the store: a megabyte, whatever is asked of them
//! (pitfall P12 of the specification).

mod common;
#[path = "common/crashes.rs"]
#[allow(dead_code)] // Its tables of configurations are for others.
mod crashes;

use common::app_of;
use crashes::{End, crash};
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Handler, Result};
use triptych_beldi::Config;
use triptych_model::{Outcome, Value};
use triptych_world::SECOND;
use triptych_world::fault::CrashKind;

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
