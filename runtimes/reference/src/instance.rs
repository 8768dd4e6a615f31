//! One execution of a function on the reference runtime: every operation waits for one turn, and is
//! then atomic. While a transaction is open, only its own operations have turns, so transactions are
//! serial; an abort puts back what it has written and forgets what it would have sent.

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
    pub(super) open: Option<Open>,
}

/// The transaction that is open.
pub(super) struct Open {
    id: Name,
    /// What was there before its writes, in their order.
    undo: Vec<(Name, Name, Option<Value>)>,
    /// What is handed over at its commit.
    sends: Vec<Task>,
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
    /// The transaction that it was called in.
    joined: Option<Name>,
    /// Its own transaction, while that is open, and under which step its operations stand.
    own: RefCell<Option<(Step, Name)>>,
}

pub(super) fn execute(
    world: &Shared,
    id: Name,
    root: usize,
    joined: Option<Name>,
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
        joined,
        own: RefCell::default(),
    };
    let call = Call {
        op: Name::from(op),
        input,
    };
    async move {
        let function = found.ok_or(missing)?;
        let mut ctx = Ctx::new(Rc::new(execution), Retries(0));
        let result = (function.handler)(&mut ctx, call).await;
        ctx.conclude(result)
    }
}

impl Execution {
    /// The transaction that an operation is part of.
    fn tx(&self, step: &Step) -> Option<Name> {
        let own = self.own.borrow();
        let own = own.as_ref().filter(|(body, _)| body.contains(step));
        own.map(|(_, id)| id.clone())
            .or_else(|| self.joined.clone())
    }

    /// Waits for a turn that the operation may have.
    async fn turn(&self, step: &Step) {
        let tx = self.tx(step);
        loop {
            pause().await;
            let world = self.world.borrow();
            let open = world.open.as_ref().map(|open| &open.id);
            if open.is_none() || open == tx.as_ref() {
                return;
            }
        }
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
        let rows = self.tables.entry(table.clone()).or_default();
        let old = rows.insert(key.clone(), value);
        if let Some(open) = &mut self.open {
            open.undo.push((table.clone(), key.clone(), old.clone()));
        }
        if let Some(old) = old {
            self.older.insert((table, key), old);
        }
    }

    fn undo(&mut self, undo: Vec<(Name, Name, Option<Value>)>) {
        for (table, key, old) in undo.into_iter().rev() {
            let rows = self.tables.entry(table).or_default();
            match old {
                Some(old) => rows.insert(key, old),
                None => rows.remove(&key),
            };
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

    fn read(
        &self,
        step: Step,
        table: Name,
        key: Name,
    ) -> LocalBoxFuture<'_, Result<Option<Value>>> {
        Box::pin(async move {
            self.turn(&step).await;
            Ok(self.world.borrow_mut().get(&table, &key))
        })
    }

    fn read_many(
        &self,
        step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>> {
        Box::pin(async move {
            self.turn(&step).await;
            let mut world = self.world.borrow_mut();
            Ok(keys.iter().map(|key| world.get(&table, key)).collect())
        })
    }

    fn write(
        &self,
        step: Step,
        table: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.turn(&step).await;
            let mut world = self.world.borrow_mut();
            if !world.struck(Bug::DropWrite) {
                world.put(table, key, value);
            }
            Ok(())
        })
    }

    fn update(
        &self,
        step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'_, Result<Updated>> {
        Box::pin(async move {
            self.turn(&step).await;
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

    fn scan(&self, step: Step, table: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>> {
        Box::pin(async move {
            self.turn(&step).await;
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
            self.turn(&step).await;
            let id = Name::from(format!("{}/{step}", self.id));
            let tx = self.tx(&step);
            let answer = execute(&self.world, id, self.root, tx, &function, &op, input).await;
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
            self.turn(&step).await;
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
                    None,
                    &function,
                    &op,
                    input.clone(),
                );
                let future = Box::pin(async move {
                    run.await.expect("no asynchronous call of this app fails");
                });
                let root = self.root;
                let task = Task { root, future };
                let mut world = self.world.borrow_mut();
                match (self.tx(&step), &mut world.open) {
                    (Some(_), Some(open)) => open.sends.push(task),
                    _ => world.spawned.push(task),
                }
            }
            Ok(())
        })
    }

    fn fresh(&self, step: Step, what: Fresh) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            self.turn(&step).await;
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

    fn joined(&self) -> Option<Name> {
        self.joined.clone()
    }

    fn begin(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.turn(&tx).await;
            let id = self.transaction(&tx, attempt);
            *self.own.borrow_mut() = Some((tx.body(attempt), id.clone()));
            self.world.borrow_mut().open = Some(Open {
                id,
                undo: Vec::new(),
                sends: Vec::new(),
            });
            Ok(())
        })
    }

    fn end(&self, _: Step, _: u32, end: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            pause().await;
            *self.own.borrow_mut() = None;
            let mut world = self.world.borrow_mut();
            let Some(open) = world.open.take() else {
                return Err(Error::Bug("no transaction is open".to_owned()));
            };
            let undone = end == TxEnd::Abort && !world.struck(Bug::IgnoreAbort);
            match undone {
                true => world.undo(open.undo),
                false => world.spawned.extend(open.sends),
            }
            Ok(())
        })
    }
}
