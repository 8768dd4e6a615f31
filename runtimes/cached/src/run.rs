//! One execution of a function, and what an app's operations become.
//!
//! Every operation takes what its branch carries ([`Branches`]), lets the system do its part, and puts
//! back what came of it.

use crate::branches::Branches;
use crate::envelope::{Carried, Envelope, Event, Load, encode, read_part, size};
use crate::meter::count;
use crate::system::{Attempt, Edit, Here, System};
use crate::{Bug, Shared};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_api::{
    Change, Condition, Error, Fresh, Instance, LocalBoxFuture, Name, Result, Step, TxEnd, Updated,
    Value, decode_reply,
};
use triptych_faas::InvokeError;
use triptych_mesh::{Key, WriteId};
use triptych_site::Effects;
use triptych_world::{Random, mix};

type Work<'a, T> = LocalBoxFuture<'a, Result<T>>;

/// See the module documentation.
pub(crate) struct Run<S: System> {
    pub(crate) shared: Rc<Shared<S>>,
    pub(crate) effects: Effects,
    /// A number that no other execution has, nor another attempt of this one.
    number: u64,
    pub(crate) function: Name,
    pub(crate) instance: Name,
    pub(crate) attempt: Attempt,
    pub(crate) server: usize,
    pub(crate) home: Option<usize>,
    /// The transaction that the caller was in.
    joined: Option<Name>,
    /// Transactions that are open here: the steps of their bodies, and their ids.
    open: RefCell<Vec<(Step, Name)>>,
    branches: RefCell<Branches<Carried<S::Context>>>,
    /// Operations so far.
    operations: Cell<u64>,
}

/// Which execution of what this is; see [`Run`].
pub(crate) struct Who {
    pub(crate) number: u64,
    pub(crate) function: Name,
    pub(crate) instance: Name,
    pub(crate) attempt: Attempt,
    pub(crate) server: usize,
    pub(crate) home: Option<usize>,
    pub(crate) joined: Option<Name>,
}

/// What was surely not done may be tried again, as an SDK does. Anything else may have had effects,
/// which a second attempt would repeat.
fn throttled(error: &InvokeError) -> bool {
    matches!(error, InvokeError::Throttled(_))
}

/// What every operation of an attempt comes to of which nothing can come any more.
fn doomed() -> Error {
    Error::Aborted("an operation of this attempt was aborted".to_owned())
}

impl<S: System> Run<S> {
    pub(crate) fn new(
        shared: Rc<Shared<S>>,
        effects: Effects,
        who: Who,
        carried: Carried<S::Context>,
    ) -> Self {
        let Who {
            number,
            function,
            instance,
            attempt,
            server,
            home,
            joined,
        } = who;
        Run {
            shared,
            effects,
            number,
            function,
            instance,
            attempt,
            server,
            home,
            joined,
            open: RefCell::default(),
            branches: RefCell::new(Branches::new(carried)),
            operations: Cell::new(0),
        }
    }

    /// Whether a defect was seeded.
    fn has(&self, bug: Bug) -> bool {
        self.shared.bug == Some(bug)
    }

    pub(crate) fn here(&self, step: &Step) -> Here {
        let number = self.operations.get();
        self.operations.set(number + 1);
        Here {
            effects: self.effects.clone(),
            server: self.server,
            attempt: self.attempt.clone(),
            instance: self.instance.clone(),
            step: step.clone(),
            write: WriteId {
                client: self.number,
                number,
            },
        }
    }

    /// What a branch, or a callee, has seen and done, is done here.
    fn join(&self, mine: &mut Carried<S::Context>, branch: Carried<S::Context>) {
        mine.rest.join(branch.rest);
        self.shared.system.join(&mut mine.context, branch.context);
    }

    /// A branch has ended where this one goes on.
    fn meet(&self, mine: &mut Carried<S::Context>, branch: Carried<S::Context>) {
        if !self.has(Bug::BranchLost) {
            self.join(mine, branch);
        }
    }

    /// Does an operation with what its branch carries.
    async fn operation<T>(
        &self,
        step: &Step,
        work: impl AsyncFnOnce(&Here, &mut Carried<S::Context>) -> Result<T>,
    ) -> Result<T> {
        let meet = |mine: &mut _, branch| self.meet(mine, branch);
        let mut mine = self.branches.borrow_mut().enter(step, meet);
        if mine.rest.doomed {
            return Err(doomed());
        }
        let here = self.here(step);
        let done = work(&here, &mut mine).await;
        self.branches.borrow_mut().leave(step, mine);
        done
    }

    /// What the root begins with.
    pub(crate) fn start(&self, carried: Carried<S::Context>) {
        *self.branches.borrow_mut() = Branches::new(carried);
    }

    /// All that it carries at its end.
    pub(crate) fn end(&self) -> Carried<S::Context> {
        let meet = |mine: &mut _, branch| self.meet(mine, branch);
        self.branches.borrow_mut().end(meet)
    }

    /// Tells the system what the function announces to read itself.
    pub(crate) async fn arrive(&self, announced: &[Key]) -> Result<()> {
        let step = Step::new("arrive");
        let arrive = async |here: &Here, mine: &mut Carried<S::Context>| {
            let system = &self.shared.system;
            let arrived = system.arrive(here, &mut mine.context, announced).await;
            mine.rest.judge(arrived)
        };
        self.operation(&step, arrive).await
    }

    /// The values of some keys, none of them twice.
    async fn look(
        &self,
        here: &Here,
        mine: &mut Carried<S::Context>,
        keys: &[Key],
    ) -> Result<Vec<Option<Value>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        count(&self.shared.meter.reads, keys.len() as u64);
        let system = &self.shared.system;
        let found = system.read(here, &mut mine.context, keys).await;
        let found = mine.rest.judge(found)?;
        match found.len() == keys.len() {
            true => Ok(found),
            false => Err(Error::Bug("a read has too few or too many values".into())),
        }
    }

    async fn values(&self, step: Step, keys: Vec<Key>) -> Result<Vec<Option<Value>>> {
        let distinct: BTreeSet<Key> = keys.iter().cloned().collect();
        let distinct: Vec<Key> = distinct.into_iter().collect();
        let read = async |here: &Here, mine: &mut _| self.look(here, mine, &distinct).await;
        let found = self.operation(&step, read).await?;
        let found: BTreeMap<&Key, Option<Value>> = distinct.iter().zip(found).collect();
        let value = |key| found.get(key).cloned().flatten();
        Ok(keys.iter().map(value).collect())
    }

    async fn edit(&self, step: Step, key: Key, edit: Edit) -> Result<Updated> {
        count(&self.shared.meter.writes, 1);
        let change = async |here: &Here, mine: &mut Carried<S::Context>| {
            let system = &self.shared.system;
            let changed = system.change(here, &mut mine.context, key.clone(), edit);
            let changed = mine.rest.judge(changed.await)?;
            if changed.applied {
                mine.rest.changed.insert(key);
            }
            Ok(changed)
        };
        self.operation(&step, change).await
    }

    /// The rows of the store, and over them what the attempt's own changes make of their keys.
    async fn rows(&self, step: Step, table: Name) -> Result<Vec<(Name, Value)>> {
        let scan = async |here: &Here, mine: &mut Carried<S::Context>| {
            let rows = self.shared.system.scan(here, &table).await;
            let rows = mine.rest.judge(rows)?;
            let changed = mine.rest.changed.iter();
            let own: Vec<Key> = changed.filter(|key| key.table == table).cloned().collect();
            let found = self.look(here, mine, &own).await?;
            let mut rows: BTreeMap<Name, Value> = rows.into_iter().collect();
            for (key, value) in own.into_iter().zip(found) {
                rows.extend(value.map(|value| (key.key, value)));
            }
            Ok(rows.into_iter().collect())
        };
        self.operation(&step, scan).await
    }

    /// The transaction that an operation is part of.
    fn transaction_of(&self, step: &Step) -> Option<Name> {
        let open = self.open.borrow();
        let here = open.iter().find(|(body, _)| body.contains(step));
        here.map(|(_, id)| id.clone())
            .or_else(|| self.joined.clone())
    }

    async fn ask(&self, step: Step, function: Name, op: Name, input: Value) -> Result<Value> {
        let tx = self.transaction_of(&step);
        let call = async |_: &Here, mine: &mut Carried<S::Context>| {
            let carried = match self.has(Bug::CallWithoutContext) {
                true => Carried::<S::Context>::default().encode()?,
                false => mine.encode()?,
            };
            self.shared.meter.carried(size(&carried.context));
            let envelope = Envelope {
                instance: Name::from(self.fresh_id()),
                op,
                input,
                home: self.home,
                load: Load::Part {
                    attempt: self.attempt.clone(),
                    tx,
                    carried,
                },
            };
            let body = Value::from(envelope);
            let reply = self
                .effects
                .invoke(S::POINTS.invoke, &function, &body, throttled);
            let reply = reply.await?;
            let (reply, carried) = read_part(&reply)?;
            if !self.has(Bug::ReplyLost) {
                self.join(mine, Carried::decode(&carried)?);
            }
            if mine.rest.doomed {
                return Err(doomed());
            }
            decode_reply(reply)
        };
        self.operation(&step, call).await
    }

    async fn tell(&self, step: Step, function: Name, op: Name, input: Value) -> Result<()> {
        let send = async |here: &Here, mine: &mut Carried<S::Context>| {
            let event = Event {
                function,
                instance: Name::from(self.fresh_id()),
                op,
                input,
            };
            if S::ATOMIC && !self.has(Bug::SendBeforeCommit) {
                let place = (here.instance.clone(), Name::from(here.step.as_str()));
                mine.rest.events.insert(place, event);
                return Ok(());
            }
            self.hand_over(event, &mine.context).await
        };
        self.operation(&step, send).await
    }

    /// Hands an event over, with what its sender has seen and done.
    pub(crate) async fn hand_over(&self, event: Event, context: &S::Context) -> Result<()> {
        let session = match self.has(Bug::EventWithoutContext) {
            true => None,
            false => Some(encode(&self.shared.system.session(context))?),
        };
        self.shared.meter.carried(session.as_ref().map_or(0, size));
        let Event {
            function,
            instance,
            op,
            input,
        } = event;
        let envelope = Envelope {
            instance,
            op,
            input,
            home: self.home,
            load: Load::Session(session),
        };
        let body = Value::from(envelope);
        let event = self
            .effects
            .enqueue(S::POINTS.enqueue, &function, &body, throttled);
        event.await
    }

    fn fresh_id(&self) -> String {
        let mut random = self.random();
        format!("{:016x}{:06x}", random.bits(), random.bits() & 0xff_ffff)
    }

    /// Other bits at every operation of every execution.
    fn random(&self) -> Random {
        let key = mix(self.effects.scope.next_key(), self.number);
        self.effects.site.world.keyed(key)
    }
}

fn keys(table: &Name, keys: Vec<Name>) -> Vec<Key> {
    let of = |key| Key {
        table: table.clone(),
        key,
    };
    keys.into_iter().map(of).collect()
}

impl<S: System> Instance for Run<S> {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.effects.scope.request().id
    }

    fn joined(&self) -> Option<Name> {
        self.joined.clone()
    }

    /// Executions of one instance are not one here, and neither are their transactions.
    fn transaction(&self, tx: &Step, attempt: u32) -> Name {
        let (instance, number) = (&self.instance, self.number);
        Name::from(format!("{instance}#{number:x}/{tx}.{attempt}"))
    }

    fn begin(&self, tx: Step, attempt: u32) -> Work<'_, ()> {
        let id = self.transaction(&tx, attempt);
        self.open.borrow_mut().push((tx.body(attempt), id));
        Box::pin(async { Ok(()) })
    }

    /// What a transaction wrote is what its attempt wrote. If the runtime can undo it, it does so by
    /// forgetting what the body carries.
    fn end(&self, tx: Step, attempt: u32, end: TxEnd) -> Work<'_, ()> {
        let body = tx.body(attempt);
        self.open.borrow_mut().retain(|(open, _)| *open != body);
        if S::ATOMIC && end == TxEnd::Abort && !self.has(Bug::AbortKeepsWrites) {
            let mut branches = self.branches.borrow_mut();
            let undone = branches.take(&body);
            let meet = |mine: &mut _, branch| self.meet(mine, branch);
            let mut mine = branches.enter(&tx, meet);
            for body in undone {
                mine.rest.doomed |= body.rest.doomed;
                self.shared.system.undo(&mut mine.context, body.context);
            }
            branches.leave(&tx, mine);
        }
        Box::pin(async { Ok(()) })
    }

    /// The whole attempt is made again, or nothing is.
    fn back_off(&self, _tx: Step, _attempt: u32) -> Work<'_, ()> {
        Box::pin(async { Err(doomed()) })
    }

    fn read(&self, step: Step, table: Name, key: Name) -> Work<'_, Option<Value>> {
        Box::pin(async move {
            let mut values = self.values(step, keys(&table, vec![key])).await?;
            Ok(values.pop().flatten())
        })
    }

    fn read_many(&self, step: Step, table: Name, asked: Vec<Name>) -> Work<'_, Vec<Option<Value>>> {
        Box::pin(self.values(step, keys(&table, asked)))
    }

    fn write(&self, step: Step, table: Name, key: Name, value: Value) -> Work<'_, ()> {
        Box::pin(async move {
            let key = Key { table, key };
            self.edit(step, key, Edit::Put(value)).await.map(drop)
        })
    }

    fn update(
        &self,
        step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> Work<'_, Updated> {
        let key = Key { table, key };
        let edit = Edit::Update { condition, changes };
        Box::pin(self.edit(step, key, edit))
    }

    fn scan(&self, step: Step, table: Name) -> Work<'_, Vec<(Name, Value)>> {
        Box::pin(self.rows(step, table))
    }

    fn call(&self, step: Step, function: Name, op: Name, input: Value) -> Work<'_, Value> {
        Box::pin(self.ask(step, function, op, input))
    }

    fn send(&self, step: Step, function: Name, op: Name, input: Value) -> Work<'_, ()> {
        Box::pin(self.tell(step, function, op, input))
    }

    fn fresh(&self, _step: Step, what: Fresh) -> Work<'_, Value> {
        Box::pin(async move {
            Ok(match what {
                Fresh::Now => Value::Int(self.effects.site.world.unix_ms()),
                Fresh::UniqueId => Value::from(self.fresh_id()),
                Fresh::Random => Value::Int((self.random().bits() >> 1) as i64),
            })
        })
    }
}
