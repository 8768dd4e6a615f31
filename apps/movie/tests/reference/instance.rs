//! One execution of a function on the reference runtime: every operation waits for one turn, and is
//! then atomic.

use super::{Bug, TURNS_PER_MS};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;
use triptych_api::model::{Comparison, Random, Segment, mix_str};
use triptych_api::{
    App, Call, Change, Condition, Ctx, Error, Fresh, Instance, LocalBoxFuture, Name, Path, Result,
    Retries, Step, TxEnd, Updated, Value, apply,
};

pub(super) struct World {
    pub(super) app: App,
    pub(super) tables: BTreeMap<Name, BTreeMap<Name, Value>>,
    /// Older values, for stale reads.
    pub(super) older: BTreeMap<(Name, Name), Value>,
    pub(super) turn: u64,
    pub(super) random: Random,
    pub(super) bug: Option<Bug>,
    pub(super) spawned: Vec<Task>,
    pub(super) settled: BTreeMap<usize, u64>,
    pub(super) executions: BTreeMap<String, u64>,
    /// Whether a transaction is under way: there is one at a time.
    pub(super) in_transaction: bool,
}

pub(super) struct Task {
    pub(super) root: usize,
    pub(super) future: LocalBoxFuture<'static, ()>,
}

pub(super) type Shared = Rc<RefCell<World>>;

/// One execution.
struct Execution {
    world: Shared,
    id: Name,
    root: usize,
}

pub(super) fn execute(
    world: &Shared,
    id: Name,
    root: usize,
    function: &str,
    op: &str,
    input: Value,
) -> impl Future<Output = Result<Value>> + use<> {
    let found = world.borrow().app.function(function).cloned();
    *world
        .borrow_mut()
        .executions
        .entry(format!("{function}.{op}"))
        .or_default() += 1;
    let missing = Error::Bug(format!("no function {function}"));
    let execution = Execution {
        world: Rc::clone(world),
        id,
        root,
    };
    let call = Call {
        op: Name::from(op),
        input,
    };
    async move {
        let function = found.ok_or(missing)?;
        let mut ctx = Ctx::new(Rc::new(execution), Retries(0));
        (function.handler)(&mut ctx, call).await
    }
}

/// Lets others have a turn.
fn pause() -> impl Future<Output = ()> {
    let mut paused = false;
    std::future::poll_fn(move |_| {
        if std::mem::replace(&mut paused, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

impl World {
    fn struck(&mut self, bug: Bug) -> bool {
        self.bug == Some(bug) && self.random.chance(0.02)
    }

    fn get(&mut self, table: &Name, key: &Name) -> Option<Value> {
        if self.struck(Bug::StaleRead) {
            return self.older.get(&(table.clone(), key.clone())).cloned();
        }
        self.tables.get(table)?.get(key).cloned()
    }

    fn put(&mut self, table: Name, key: Name, value: Value) {
        let old = self
            .tables
            .entry(table.clone())
            .or_default()
            .insert(key.clone(), value);
        if let Some(old) = old {
            self.older.insert((table, key), old);
        }
    }
}

fn at<'a>(document: &'a Value, path: &Path) -> Option<&'a Value> {
    path.segments()
        .iter()
        .try_fold(document, |value, segment| match segment {
            Segment::Field(name) => value.get(name),
            Segment::Index(index) => value.as_list()?.get(*index),
        })
}

fn holds(condition: &Condition, document: &Value) -> bool {
    match condition {
        Condition::Exists(path) => at(document, path).is_some(),
        Condition::Absent(path) => at(document, path).is_none(),
        Condition::All(all) => all.iter().all(|condition| holds(condition, document)),
        Condition::Any(any) => any.iter().any(|condition| holds(condition, document)),
        Condition::Not(not) => !holds(not, document),
        Condition::Compare(path, comparison, value) => match (at(document, path), comparison) {
            (None, comparison) => *comparison == Comparison::NotEqual,
            (Some(found), Comparison::Equal) => found == value,
            (Some(found), Comparison::NotEqual) => found != value,
            (Some(found), Comparison::Less) => found < value,
            (Some(found), Comparison::LessOrEqual) => found <= value,
            (Some(found), Comparison::Greater) => found > value,
            (Some(found), Comparison::GreaterOrEqual) => found >= value,
        },
    }
}

impl Instance for Execution {
    fn id(&self) -> &Name {
        &self.id
    }

    fn read(&self, _: Step, table: Name, key: Name) -> LocalBoxFuture<'_, Result<Option<Value>>> {
        Box::pin(async move {
            pause().await;
            Ok(self.world.borrow_mut().get(&table, &key))
        })
    }

    fn read_many(
        &self,
        _: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>> {
        Box::pin(async move {
            pause().await;
            let mut world = self.world.borrow_mut();
            Ok(keys.iter().map(|key| world.get(&table, key)).collect())
        })
    }

    fn write(
        &self,
        _: Step,
        table: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            pause().await;
            let mut world = self.world.borrow_mut();
            if !world.struck(Bug::DropWrite) {
                world.put(table, key, value);
            }
            Ok(())
        })
    }

    fn update(
        &self,
        _: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'_, Result<Updated>> {
        Box::pin(async move {
            pause().await;
            let mut world = self.world.borrow_mut();
            let old = world
                .tables
                .get(&table)
                .and_then(|rows| rows.get(&key))
                .cloned();
            let mut document = old
                .as_ref()
                .and_then(Value::as_map)
                .cloned()
                .unwrap_or_default();
            let document_value = Value::from(document.clone());
            if condition.is_some_and(|condition| !holds(&condition, &document_value)) {
                return Ok(Updated {
                    applied: false,
                    sum: None,
                });
            }
            let sum = apply(&mut document, &changes);
            if world.struck(Bug::RepeatUpdate) {
                apply(&mut document, &changes);
            }
            if !world.struck(Bug::DropUpdate) {
                world.put(table, key, Value::from(document));
            }
            Ok(Updated { applied: true, sum })
        })
    }

    fn scan(&self, _: Step, table: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>> {
        Box::pin(async move {
            pause().await;
            let rows = self
                .world
                .borrow()
                .tables
                .get(&table)
                .cloned()
                .unwrap_or_default();
            Ok(rows.into_iter().collect())
        })
    }

    fn call(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            pause().await;
            let id = Name::from(format!("{}/{step}", self.id));
            let answer = execute(&self.world, id, self.root, &function, &op, input).await;
            pause().await;
            answer
        })
    }

    fn send(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            pause().await;
            let id = Name::from(format!("{}/{step}", self.id));
            let mut world = self.world.borrow_mut();
            let mut times = 1;
            if world.struck(Bug::DropSend) {
                times = 0;
            } else if world.struck(Bug::RepeatSend) {
                times = 2;
            }
            drop(world);
            for _ in 0..times {
                let run = execute(
                    &self.world,
                    id.clone(),
                    self.root,
                    &function,
                    &op,
                    input.clone(),
                );
                let future = Box::pin(async move {
                    run.await.expect("no asynchronous call of this app fails");
                });
                self.world.borrow_mut().spawned.push(Task {
                    root: self.root,
                    future,
                });
            }
            Ok(())
        })
    }

    fn fresh(&self, step: Step, what: Fresh) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            pause().await;
            let mut world = self.world.borrow_mut();
            let hash = mix_str(mix_str(1, &self.id), step.as_str());
            Ok(match what {
                Fresh::Now => Value::Int(1_700_000_000_000 + (world.turn / TURNS_PER_MS) as i64),
                Fresh::UniqueId if world.struck(Bug::ReusedId) => Value::str("again"),
                Fresh::UniqueId => Value::from(format!("{hash:016x}")),
                Fresh::Random => Value::Int((hash >> 1) as i64),
            })
        })
    }

    fn begin(&self, _: Step, _: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            while std::mem::replace(&mut self.world.borrow_mut().in_transaction, true) {
                pause().await;
            }
            Ok(())
        })
    }

    /// Transactions of the tested apps refuse before they change anything, so an abort has nothing to
    /// undo.
    fn end(&self, _: Step, _: u32, _: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            pause().await;
            self.world.borrow_mut().in_transaction = false;
            Ok(())
        })
    }
}
