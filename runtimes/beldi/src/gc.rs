//! The garbage collector: forgets instances that are long over (specification §§7, 13, 16).
//!
//! Every function has one, run by a timer. It rests on one assumption about time: `T` after an
//! instance was done, no execution and no message of it is alive any more. So what such an instance
//! has logged can go: its entries in the log table, the shadows of its transactions, and last its
//! intent, which is the only record of all that. Rows of the linked lists follow when no entry in
//! them can be asked for any more ([`lists`]).
//!
//! Everything is found anew in each pass, and every step has a condition of its own, so a pass may
//! crash anywhere, be repeated, or overlap with another one. A lease per function only saves the
//! work of the overlap. Finished instances are found in a sparse index by the time of their end.

mod lists;
mod shadows;

pub(crate) use lists::{locked_by, walk};

use crate::Bug;
use crate::lock::LOCK;
use crate::log::{Run, interrupted};
use crate::names::{
    DONE, FINISHED, FINISHED_INDEX, HEAD, INSTANCE, LEASE, OWNER, PENDING_SHARDS, STEP, UNTIL,
    gc_table, intent_table, local_table, log_table,
};
use crate::rows::row_key;
use futures_util::future::{join_all, try_join_all};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::{Error, Result};
use triptych_model::{Action, Comparison, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{Key, Request, Response, StoreError, Write};
use triptych_world::MS;

/// Instances that are collected at the same time.
const WIDTH: usize = 32;
/// What the store reads in one batch.
const BATCH_GET: usize = 100;
/// What it deletes in one.
const BATCH_WRITE: usize = 25;

/// One pass over a function.
struct Sweep<'a> {
    run: &'a Run,
    /// What was over before this is over for good.
    before: i64,
    /// Instances that this pass has asked about: whether they are gone or can go.
    known: RefCell<BTreeMap<Name, bool>>,
    /// Transactions that it has asked about: whether their shadows are gone.
    forgotten: RefCell<BTreeMap<Name, bool>>,
}

/// One pass. Returns how many instances it forgot.
pub(crate) async fn sweep(run: &Run) -> Result<Value> {
    if !take_lease(run).await? {
        return Ok(Value::Int(0));
    }
    let config = &run.shared.config;
    let now = run.shared.world.unix_ms();
    let t = if run.has(Bug::CollectorIgnoresT) {
        0
    } else {
        (config.t / MS) as i64
    };
    let sweep = Sweep {
        run,
        before: now - t,
        known: RefCell::default(),
        forgotten: RefCell::default(),
    };
    sweep.lists().await?;
    sweep.shadows().await?;
    let forgotten = sweep.instances().await?;
    give_back(run).await?;
    Ok(Value::Int(forgotten))
}

fn lease() -> Key {
    Key::hash(Value::str(LEASE))
}

/// Takes the function's lease, unless somebody has it who may still be at work.
async fn take_lease(run: &Run) -> Result<bool> {
    let now = run.shared.world.unix_ms();
    // No execution lives longer than its timeout, which is when others may start it again.
    let until = now + (run.shared.config.restart_after / MS) as i64;
    let update = vec![
        set(OWNER, run.instance.clone().into()),
        set(UNTIL, Value::Int(until)),
    ];
    let until = Path::attr(UNTIL);
    let free = Condition::Any(vec![
        Condition::Absent(until.clone()),
        Condition::Compare(until, Comparison::Less, Value::Int(now)),
    ]);
    let at = (&gc_table(&run.function), lease());
    run.update_if("beldi.gc.lease", at, update, free).await
}

async fn give_back(run: &Run) -> Result<()> {
    let mine = Condition::equals(Path::attr(OWNER), run.instance.clone());
    let update = vec![Action::Remove(Path::attr(UNTIL))];
    let at = (&gc_table(&run.function), lease());
    run.update_if("beldi.gc.release", at, update, mine)
        .await
        .map(drop)
}

fn set(name: &str, value: Value) -> Action {
    Action::Set(Path::attr(name), Operand::Value(value))
}

/// Whose a log key is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// An instance has logged an effect.
    Instance(Name),
    /// It was decided whether a transaction gets the key. All of its instances may ask for that.
    Transaction(Name),
}

impl Owner {
    /// The step is what follows the last dash.
    fn of(cid: &str) -> Self {
        match cid.rsplit_once('-') {
            Some((tx, LOCK)) => Owner::Transaction(Name::from(tx)),
            Some((instance, _)) => Owner::Instance(Name::from(instance)),
            None => Owner::Instance(Name::from(cid)),
        }
    }
}

impl Run {
    /// All items of a query or scan, page by page.
    pub(crate) async fn all_pages(
        &self,
        point: &'static str,
        request: impl Fn(Option<Item>) -> Request,
    ) -> Result<Vec<Item>> {
        let mut found = Vec::new();
        let mut start = None;
        loop {
            let response = self.store(point, request(start.take())).await;
            let Response::Page { items, next } = response.map_err(interrupted)? else {
                return Err(Error::Interrupted(format!("{point} is not a page")));
            };
            found.extend(items);
            start = next;
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// Deletes an item if a condition holds of it.
    pub(crate) async fn delete_if(
        &self,
        point: &'static str,
        (table, key): (&Name, Key),
        condition: Condition,
    ) -> Result<()> {
        let request = Request::Delete {
            table: table.clone(),
            key,
            condition: Some(condition),
        };
        match self.store(point, request).await {
            Ok(_) | Err(StoreError::ConditionFailed) => Ok(()),
            Err(error) => Err(interrupted(error)),
        }
    }
}

/// A query of one hash value, or of one of an index.
pub(crate) fn query(
    table: &Name,
    index: Option<&str>,
    hash: Value,
    below: Option<i64>,
    projection: &[&str],
) -> impl Fn(Option<Item>) -> Request {
    let (table, index) = (table.clone(), index.map(Name::from));
    let projection: Vec<Path> = projection.iter().copied().map(Path::attr).collect();
    move |start| Request::Query {
        table: table.clone(),
        index: index.clone(),
        hash: hash.clone(),
        range_below: below.map(Value::Int),
        filter: None,
        projection: Some(projection.clone()),
        consistent: index.is_none(),
        limit: None,
        start,
    }
}

impl Sweep<'_> {
    /// Whether no log key of these owners can be asked for any more: each instance is gone, or was
    /// done more than `T` ago. Of each transaction, all instances of this function are: whoever asks
    /// for a lock has an entry in the shadow, and that goes when they are all over.
    async fn all_over(&self, owners: &BTreeSet<Owner>) -> Result<bool> {
        if self.run.has(Bug::PrefixMatch) {
            let over = self.known.borrow();
            let over: Vec<&Name> = over
                .iter()
                .filter(|(_, over)| **over)
                .map(|e| e.0)
                .collect();
            let matched = |owner: &Owner| match owner {
                Owner::Instance(id) => over.iter().any(|over| id.starts_with(&***over)),
                Owner::Transaction(_) => true,
            };
            if owners.iter().all(matched) {
                return Ok(true);
            }
        }
        let verdict = |owner: &Owner| match owner {
            Owner::Instance(id) => self.known.borrow().get(id).copied(),
            Owner::Transaction(id) => self.forgotten.borrow().get(id).copied(),
        };
        if owners.iter().any(|owner| verdict(owner) == Some(false)) {
            return Ok(false);
        }
        let open: Vec<&Owner> = owners
            .iter()
            .filter(|owner| verdict(owner).is_none())
            .collect();
        for some in open.chunks(BATCH_GET) {
            if !self.ask(some).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn ask(&self, owners: &[&Owner]) -> Result<bool> {
        let function = &self.run.function;
        let (intents, shadows) = (intent_table(function), local_table(function));
        let key = |owner: &&Owner| match owner {
            Owner::Instance(id) => (intents.clone(), Key::hash(id.clone())),
            Owner::Transaction(id) => (shadows.clone(), row_key(id, HEAD)),
        };
        let request = Request::BatchGet {
            keys: owners.iter().map(key).collect(),
            consistent: true,
        };
        let response = self.run.store("beldi.gc.intents", request).await;
        let Response::Items(items) = response.map_err(interrupted)? else {
            return Err(Error::Interrupted("a batch has no items".to_owned()));
        };
        let mut all = true;
        for (owner, item) in owners.iter().zip(items) {
            let over = match owner {
                Owner::Instance(id) => {
                    let over = item.is_none_or(|intent| self.is_over(&intent));
                    self.known.borrow_mut().insert(id.clone(), over);
                    over
                }
                Owner::Transaction(id) => {
                    let over = item.is_none() || self.run.has(Bug::LocksBeforeShadow);
                    self.forgotten.borrow_mut().insert(id.clone(), over);
                    over
                }
            };
            all &= over;
        }
        Ok(all)
    }

    fn is_over(&self, intent: &Item) -> bool {
        let finished = intent.get(FINISHED).and_then(Value::as_int);
        intent.get(DONE) == Some(&Value::Bool(true))
            && finished.is_some_and(|finished| finished < self.before)
    }

    /// Forgets the instances that are over.
    async fn instances(&self) -> Result<i64> {
        if self.run.has(Bug::CollectUnfinished) {
            self.unfinished_logs().await?;
        }
        let shards = (0..PENDING_SHARDS).map(|shard| self.over_in(shard));
        let over: Vec<(Name, i64)> = try_join_all(shards).await?.into_iter().flatten().collect();
        for some in over.chunks(WIDTH) {
            let forgotten = some.iter().map(|(id, finished)| self.forget(id, *finished));
            join_all(forgotten)
                .await
                .into_iter()
                .collect::<Result<()>>()?;
        }
        if self.run.has(Bug::PrefixMatch) {
            self.logs_by_prefix(&over).await?;
        }
        Ok(over.len() as i64)
    }

    /// The instances of a shard of the index that were done before the time, with that time.
    async fn over_in(&self, shard: u64) -> Result<Vec<(Name, i64)>> {
        let table = intent_table(&self.run.function);
        let found = query(
            &table,
            Some(FINISHED_INDEX),
            Value::from(shard.to_string()),
            Some(self.before),
            &[INSTANCE, FINISHED],
        );
        let found = self.run.all_pages("beldi.gc.finished", found).await?;
        let entry = |item: Item| match (item.get(INSTANCE), item.get(FINISHED)) {
            (Some(Value::Str(id)), Some(Value::Int(finished))) => Some((id.clone(), *finished)),
            _ => None,
        };
        Ok(found.into_iter().filter_map(entry).collect())
    }

    /// The logs first: without the intent, nobody would know what they are.
    async fn forget(&self, instance: &Name, finished: i64) -> Result<()> {
        let early = self.run.has(Bug::IntentBeforeLogs);
        if early {
            self.forget_intent(instance, finished).await?;
        }
        self.forget_logs(instance).await?;
        if !early {
            self.forget_intent(instance, finished).await?;
        }
        Ok(())
    }

    async fn forget_logs(&self, instance: &Name) -> Result<()> {
        let table = log_table(&self.run.function);
        let hash = Value::from(instance.clone());
        let entries = query(&table, None, hash, None, &[INSTANCE, STEP]);
        let entries = self.run.all_pages("beldi.gc.log", entries).await?;
        let steps: Vec<Value> = entries
            .into_iter()
            .filter_map(|mut entry| entry.remove(STEP))
            .collect();
        for some in steps.chunks(BATCH_WRITE) {
            let delete = |step: &Value| Write::Delete {
                table: table.clone(),
                key: Key::range(instance.clone(), step.clone()),
                condition: None,
            };
            let writes = some.iter().map(delete).collect();
            let request = Request::BatchWrite { writes };
            let deleted = self.run.store("beldi.gc.log.delete", request).await;
            deleted.map_err(interrupted)?;
        }
        Ok(())
    }

    async fn forget_intent(&self, instance: &Name, finished: i64) -> Result<()> {
        let unchanged = Condition::All(vec![
            Condition::equals(Path::attr(DONE), true),
            Condition::equals(Path::attr(FINISHED), finished),
        ]);
        let table = intent_table(&self.run.function);
        let at = (&table, Key::hash(instance.clone()));
        self.run.delete_if("beldi.gc.intent", at, unchanged).await
    }

    /// The seeded defect [`Bug::CollectUnfinished`].
    async fn unfinished_logs(&self) -> Result<()> {
        let table = intent_table(&self.run.function);
        for shard in 0..PENDING_SHARDS {
            let found = query(
                &table,
                Some(crate::names::PENDING_INDEX),
                Value::from(shard.to_string()),
                None,
                &[INSTANCE],
            );
            for item in self.run.all_pages("beldi.gc.finished", found).await? {
                if let Some(Value::Str(instance)) = item.get(INSTANCE) {
                    self.forget_logs(instance).await?;
                }
            }
        }
        Ok(())
    }

    /// The seeded defect [`Bug::PrefixMatch`].
    async fn logs_by_prefix(&self, over: &[(Name, i64)]) -> Result<()> {
        let table = log_table(&self.run.function);
        let scan = |start| Request::Scan {
            table: table.clone(),
            filter: None,
            projection: Some(vec![Path::attr(INSTANCE)]),
            consistent: true,
            limit: None,
            start,
        };
        let entries = self.run.all_pages("beldi.gc.log", scan).await?;
        let ids: BTreeSet<Name> = entries
            .iter()
            .filter_map(|entry| crate::rows::text(entry, INSTANCE))
            .collect();
        for id in ids {
            if over.iter().any(|(over, _)| id.starts_with(&**over)) {
                self.forget_logs(&id).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::lock_key;

    #[test]
    fn a_log_key_is_parsed_not_matched() {
        let instance = |id| Owner::Instance(Name::from(id));
        assert_eq!(Owner::of("a10-3"), instance("a10"));
        assert_eq!(Owner::of("a-1-4.0.tx"), instance("a-1"));
        assert_ne!(Owner::of("a10-3"), Owner::of("a1-3"));
        assert_eq!(Owner::of("a-lock-3"), instance("a-lock"));
        let tx = Name::from("a-1/4.0");
        assert_eq!(Owner::of(&lock_key(&tx)), Owner::Transaction(tx));
    }
}
