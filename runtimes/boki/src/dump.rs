//! Looking from outside: what is pending, what was left behind, and how much there is.
//!
//! Who looks has seen whatever any execution of this process has seen, so nothing that they were told
//! of is missed.

use crate::collector::lives;
use crate::item::{LOCK, OWNER, SEAL};
use crate::journal::Placed;
use crate::record::{Entry, What, intents, locks};
use crate::{BOOK, Shared};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use triptych_api::model::Item;
use triptych_api::{Name, State, Value};
use triptych_faas::Gauges;
use triptych_log::{Book, Failure, Reply, Request, SeqNum, Tag};
use triptych_site::{KEY, tables};
use triptych_store::{Request as Ask, patient_pages};
use triptych_world::{MS, Nanos};

/// How many records are read at once.
const PAGE: u16 = 512;
/// How often the log is asked again that does not answer, and how long after.
const TRIES: u32 = 50;
const PAUSE: Nanos = 100 * MS;

/// What was read of functions' streams so far: looks are many, and each reads on from the last.
#[derive(Default)]
pub(crate) struct Watch(RefCell<BTreeMap<Name, Watched>>);

#[derive(Default)]
struct Watched {
    from: SeqNum,
    open: BTreeSet<Name>,
    /// A late execution may record a start once more.
    done: BTreeSet<Name>,
}

type Looked<T> = Result<T, String>;

/// Asks the log until it answers, but not for ever.
async fn insist<T, F: Future<Output = Result<T, Failure>>>(
    shared: &Shared,
    ask: impl Fn() -> F,
) -> Looked<T> {
    let mut tried = 0;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(failure) if tried == TRIES => return Err(failure.to_string()),
            Err(_) => tried += 1,
        }
        shared.site.world.sleep(PAUSE).await;
    }
}

/// All records of a stream from a place on.
async fn all(shared: &Shared, tag: Tag, mut from: SeqNum) -> Looked<Vec<Placed>> {
    let book = Book::new(shared.log.unmetered(), BOOK);
    book.observe(shared.log.asked().newest.get());
    let mut all = Vec::new();
    loop {
        let page = insist(shared, || book.read_some(tag, from, PAGE)).await?;
        for found in &page {
            from = found.seq.next();
            let entry = Entry::decode(&found.record.data);
            all.push((found.seq, entry.map_err(|error| error.to_string())?));
        }
        if page.len() < usize::from(PAGE) {
            return Ok(all);
        }
    }
}

/// The instances that have begun and not finished.
pub(crate) async fn pending(shared: &Shared) -> Looked<Vec<String>> {
    let mut pending = Vec::new();
    for function in &shared.site.app.functions {
        let name = &function.name;
        let from = {
            let mut known = shared.watch.0.borrow_mut();
            known.entry(name.clone()).or_default().from
        };
        let news = all(shared, intents(name), from).await?;
        let mut known = shared.watch.0.borrow_mut();
        let watched = known.entry(name.clone()).or_default();
        if let Some((last, _)) = news.last() {
            watched.from = watched.from.max(last.next());
        }
        for (instance, life) in lives(name, news) {
            if life.done.is_some() {
                watched.open.remove(&instance);
                watched.done.insert(instance);
            } else if !watched.done.contains(&instance) {
                watched.open.insert(instance);
            }
        }
        pending.extend(
            watched
                .open
                .iter()
                .map(|instance| format!("{instance} of {name}")),
        );
    }
    Ok(pending)
}

/// The logical state, and what should not be there.
pub(crate) async fn dump(shared: Rc<Shared>) -> Looked<State> {
    let pending = pending(&shared).await?;
    let mut state = State {
        pending,
        ..State::default()
    };
    let site = &shared.site;
    let functions = site.app.functions.iter();
    for table in functions.flat_map(|function| &function.tables) {
        let (world, store) = (site.world.clone(), Rc::clone(&site.store));
        let scope = site.world.background_scope();
        let items = patient_pages(world, store, scope, Ask::scan(table)).await;
        let items = items.map_err(|error| error.to_string())?;
        for item in &items {
            look_at(&shared, table, item, &mut state).await?;
        }
        state.tables.insert(table.clone(), tables::rows(items));
    }
    Ok(state)
}

async fn look_at(shared: &Shared, table: &Name, item: &Item, state: &mut State) -> Looked<()> {
    let Some(Value::Str(key)) = item.get(KEY) else {
        state
            .corrupt
            .push(format!("{table} has an item without a key"));
        return Ok(());
    };
    if let Some(lock) = item.get(LOCK) {
        state
            .residue
            .push(format!("{table}[{key}] is marked: {lock:?}"));
    }
    if item.contains_key(OWNER) && !item.contains_key(crate::item::VERSION) {
        state
            .corrupt
            .push(format!("{table}[{key}] has an owner and no version"));
    }
    if !item.contains_key(LOCK) && !item.contains_key(SEAL) {
        // No transaction has ever asked for it.
        return Ok(());
    }
    let records = all(shared, locks(table, key), SeqNum::ZERO).await?;
    let last = records
        .into_iter()
        .rev()
        .find_map(|(_, entry)| match entry.what {
            What::Lock {
                table: t,
                key: k,
                state,
                ..
            } if (&t, &k) == (table, key) => Some(state),
            _ => None,
        });
    let last = last.unwrap_or_default();
    if let Some(holder) = last.holder {
        let tx = holder.tx.id;
        state
            .residue
            .push(format!("{table}[{key}] is locked by {tx}"));
    }
    if let Some(tx) = last.waiter {
        let tx = tx.id;
        state
            .residue
            .push(format!("{tx} still waits for {table}[{key}]"));
    }
    Ok(())
}

/// What was asked of the log so far, and what it keeps.
pub(crate) async fn gauges(shared: &Shared) -> Looked<Gauges> {
    let asked = shared.log.asked();
    let mut gauges = Gauges::from([
        (Name::from("log_appends"), asked.appends.get()),
        (Name::from("log_reads"), asked.reads.get()),
        (Name::from("log_trims"), asked.trims.get()),
    ]);
    let port = shared.log.unmetered();
    match insist(shared, || port.ask(Request::Status)).await? {
        Reply::Status { gauges: found, .. } => {
            let named = |(name, amount): (String, u64)| (Name::from(format!("log_{name}")), amount);
            gauges.extend(found.into_iter().map(named));
            Ok(gauges)
        }
        other => Err(format!(
            "a log was asked for its status, and said {other:?}"
        )),
    }
}
