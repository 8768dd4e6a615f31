//! What an app's operations become: changes of maps in memory, with a record of how to undo them.

use crate::Shared;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use triptych_api::{
    Call, Change, Condition, Fresh, Instance, LocalBoxFuture, Name, Result, State, Step, TxEnd,
    Updated, Value, decode_reply,
};
use triptych_site::tables::updated;
use triptych_world::{mix, mix_str};

/// A call that was handed over and has not run yet.
struct Sent {
    function: Name,
    instance: Name,
    call: Call,
    request: u64,
}

/// A point in a request to which what came after it can be undone.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    changes: usize,
    sent: usize,
}

/// The tables, and what the request under way has done to them.
#[derive(Default)]
pub(crate) struct Memory {
    tables: BTreeMap<Name, BTreeMap<Name, Value>>,
    /// The answers, by request id.
    answers: BTreeMap<Name, Value>,
    /// What stood where the request under way has changed something.
    undo: Vec<(Name, Name, Option<Value>)>,
    /// What is to run after it.
    sent: VecDeque<Sent>,
    /// Sent calls that came to nothing, because the app's code is wrong.
    failed: Vec<String>,
}

impl Memory {
    pub(crate) fn answered(&self, id: &Name) -> Option<Value> {
        self.answers.get(id).cloned()
    }

    pub(crate) fn answer(&mut self, id: Name, reply: Value) {
        self.answers.insert(id, reply);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            changes: self.undo.len(),
            sent: self.sent.len(),
        }
    }

    /// Takes back everything after the mark, sent calls included.
    pub(crate) fn undo(&mut self, mark: Mark) {
        while self.undo.len() > mark.changes {
            if let Some((table, key, old)) = self.undo.pop() {
                self.put(&table, &key, old);
            }
        }
        self.sent.truncate(mark.sent);
    }

    fn put(&mut self, table: &Name, key: &Name, value: Option<Value>) -> Option<Value> {
        let rows = self.tables.entry(table.clone()).or_default();
        match value {
            Some(value) => rows.insert(key.clone(), value),
            None => rows.remove(key),
        }
    }

    fn change(&mut self, table: Name, key: Name, value: Value) {
        let old = self.put(&table, &key, Some(value));
        self.undo.push((table, key, old));
    }

    fn get(&self, table: &Name, key: &Name) -> Option<Value> {
        self.tables.get(table)?.get(key).cloned()
    }

    pub(crate) fn state<'a>(&self, tables: impl Iterator<Item = &'a Name>) -> State {
        let rows = |table: &Name| self.tables.get(table).cloned().unwrap_or_default();
        State {
            tables: tables.map(|table| (table.clone(), rows(table))).collect(),
            residue: self.failed.clone(),
            ..State::default()
        }
    }
}

/// Executes an instance of a function, and gives its reply. Nothing in it waits, so it takes a single
/// turn.
pub(crate) fn execute<'a>(
    shared: &'a Rc<Shared>,
    function: &'a Name,
    instance: Name,
    call: Call,
    joined: Option<Name>,
    request: u64,
) -> LocalBoxFuture<'a, Result<Value>> {
    Box::pin(async move {
        let run = Run {
            shared: Rc::clone(shared),
            instance,
            joined,
            request,
            open: RefCell::default(),
        };
        triptych_site::run(&shared.site, function, Rc::new(run), call).await
    })
}

/// Makes the request under way final, and runs what it sent, and what those send, in order.
pub(crate) async fn send_all(shared: &Rc<Shared>) {
    loop {
        let next = {
            let mut memory = shared.memory.borrow_mut();
            memory.undo.clear();
            memory.sent.pop_front()
        };
        let Some(sent) = next else { return };
        let begun = shared.memory.borrow().mark();
        let Sent {
            function,
            instance,
            call,
            request,
        } = sent;
        let told = format!("{function}.{}, sent as {instance}", call.op);
        let end = execute(shared, &function, instance, call, None, request).await;
        if let Err(error) = end {
            let mut memory = shared.memory.borrow_mut();
            memory.undo(begun);
            memory.failed.push(format!("{told}: {error}"));
        }
    }
}

/// A transaction that is open in an instance.
struct Open {
    body: Step,
    id: Name,
    begun: Mark,
}

/// One execution of one instance; there is never a second.
struct Run {
    shared: Rc<Shared>,
    instance: Name,
    /// The transaction that the caller was in.
    joined: Option<Name>,
    request: u64,
    open: RefCell<Vec<Open>>,
}

impl Run {
    fn callee(&self, step: &Step) -> Name {
        Name::from(format!("{}/{step}", self.instance))
    }

    /// The transaction that an operation is part of.
    fn transaction_of(&self, step: &Step) -> Option<Name> {
        let open = self.open.borrow();
        let here = open.iter().find(|open| open.body.contains(step));
        here.map(|open| open.id.clone()).or(self.joined.clone())
    }
}

impl Instance for Run {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.request
    }

    fn joined(&self) -> Option<Name> {
        self.joined.clone()
    }

    fn read(
        &self,
        _step: Step,
        table: Name,
        key: Name,
    ) -> LocalBoxFuture<'_, Result<Option<Value>>> {
        Box::pin(async move { Ok(self.shared.memory.borrow().get(&table, &key)) })
    }

    fn read_many(
        &self,
        _step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>> {
        Box::pin(async move {
            let memory = self.shared.memory.borrow();
            Ok(keys.iter().map(|key| memory.get(&table, key)).collect())
        })
    }

    fn write(
        &self,
        _step: Step,
        table: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.shared.memory.borrow_mut().change(table, key, value);
            Ok(())
        })
    }

    fn update(
        &self,
        _step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'_, Result<Updated>> {
        Box::pin(async move {
            let mut memory = self.shared.memory.borrow_mut();
            let old = memory.get(&table, &key);
            let (updated, new) = updated(old.as_ref(), condition.as_ref(), &changes);
            if let Some(new) = new {
                memory.change(table, key, new);
            }
            Ok(updated)
        })
    }

    fn scan(&self, _step: Step, table: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>> {
        Box::pin(async move {
            let memory = self.shared.memory.borrow();
            let rows = memory.tables.get(&table).into_iter().flatten();
            Ok(rows
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect())
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
            let (instance, joined) = (self.callee(&step), self.transaction_of(&step));
            let call = Call { op, input };
            let (shared, request) = (&self.shared, self.request);
            let reply = execute(shared, &function, instance, call, joined, request);
            decode_reply(&reply.await?)
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
            self.shared.memory.borrow_mut().sent.push_back(Sent {
                function,
                instance: self.callee(&step),
                call: Call { op, input },
                request: self.request,
            });
            Ok(())
        })
    }

    fn fresh(&self, step: Step, what: Fresh) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            let world = &self.shared.site.world;
            let place = self.callee(&step);
            Ok(match what {
                Fresh::Now => Value::Int(world.unix_ms()),
                Fresh::UniqueId => Value::from(place),
                Fresh::Random => Value::Int((mix(mix_str(world.seed(), &place), 2) >> 1) as i64),
            })
        })
    }

    fn begin(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        let open = Open {
            body: tx.body(attempt),
            id: self.transaction(&tx, attempt),
            begun: self.shared.memory.borrow().mark(),
        };
        self.open.borrow_mut().push(open);
        Box::pin(async { Ok(()) })
    }

    fn end(&self, tx: Step, attempt: u32, end: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        let body = tx.body(attempt);
        let mut all = self.open.borrow_mut();
        let at = all.iter().position(|open| open.body == body);
        if let (Some(at), TxEnd::Abort) = (at, end) {
            self.shared.memory.borrow_mut().undo(all[at].begun);
        }
        at.map(|at| all.remove(at));
        Box::pin(async { Ok(()) })
    }

    /// Nobody else runs meanwhile, so there is nothing to wait for.
    fn back_off(&self, _tx: Step, _attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
