//! `Ctx` over a small in-memory runtime: steps, forks, and what a transaction means at each of the
//! declared levels.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{
    Change, Condition, Ctx, Error, Fresh, Instance, Isolation, LocalBoxFuture, Name, Result,
    Retries, Step, TxEnd, Updated, Value, apply, join,
};

/// Of an update of this key nobody learns what became.
const UNKNOWN: &str = "unknown";

fn lost() -> Error {
    Error::Interrupted("no reply".to_owned())
}

/// A runtime with snapshots: a serializable one undoes, one without isolation does not.
struct Memory {
    id: Name,
    isolation: Isolation,
    rows: RefCell<BTreeMap<Name, Value>>,
    saved: RefCell<Option<BTreeMap<Name, Value>>>,
    steps: RefCell<Vec<String>>,
    /// Attempts that still meet a conflict at their first write.
    conflicts: Cell<u32>,
    /// The transaction that the instance was called in.
    joined: Option<Name>,
}

impl Memory {
    fn new(isolation: Isolation, conflicts: u32) -> Rc<Self> {
        Rc::new(Memory {
            id: Name::from("i"),
            isolation,
            rows: RefCell::default(),
            saved: RefCell::default(),
            steps: RefCell::default(),
            conflicts: Cell::new(conflicts),
            joined: None,
        })
    }

    fn callee(conflicts: u32) -> Rc<Self> {
        let memory = Memory::new(Isolation::Serializable, conflicts);
        let mut memory = Rc::into_inner(memory).expect("nobody else has it yet");
        memory.joined = Some(Name::from("t"));
        memory.saved = RefCell::new(Some(BTreeMap::new()));
        Rc::new(memory)
    }

    fn ended(&self) -> bool {
        self.steps.borrow().iter().any(|step| step.ends_with("end"))
    }

    fn ctx(self: &Rc<Self>, retries: u32) -> Ctx {
        Ctx::new(Rc::clone(self) as Rc<dyn Instance>, Retries(retries))
    }

    fn note(&self, step: &Step) {
        self.steps.borrow_mut().push(step.to_string());
    }

    fn sum(&self, key: &str) -> Option<i64> {
        self.rows
            .borrow()
            .get(key)
            .and_then(|row| row.get("n")?.as_int())
    }
}

impl Instance for Memory {
    fn id(&self) -> &Name {
        &self.id
    }
    fn read(&self, step: Step, _: Name, key: Name) -> LocalBoxFuture<'_, Result<Option<Value>>> {
        self.note(&step);
        Box::pin(async move { Ok(self.rows.borrow().get(&key).cloned()) })
    }
    fn read_many(
        &self,
        step: Step,
        _: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>> {
        self.note(&step);
        let rows = self.rows.borrow();
        let found = keys.iter().map(|key| rows.get(key).cloned()).collect();
        Box::pin(async move { Ok(found) })
    }
    fn write(
        &self,
        step: Step,
        _: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        self.note(&step);
        self.rows.borrow_mut().insert(key, value);
        Box::pin(async { Ok(()) })
    }
    fn update(
        &self,
        step: Step,
        _: Name,
        key: Name,
        _: Option<Condition>,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'_, Result<Updated>> {
        self.note(&step);
        if &*key == UNKNOWN {
            return Box::pin(async { Err(lost()) });
        }
        if self.conflicts.get() > 0 && self.saved.borrow().is_some() {
            self.conflicts.set(self.conflicts.get() - 1);
            return Box::pin(async { Err(Error::Aborted("conflict".to_owned())) });
        }
        let mut rows = self.rows.borrow_mut();
        let old = rows.get(&key).and_then(Value::as_map).cloned();
        let mut document = old.unwrap_or_default();
        let sum = apply(&mut document, &changes);
        rows.insert(key, Value::from(document));
        Box::pin(async move { Ok(Updated { applied: true, sum }) })
    }
    fn scan(&self, step: Step, _: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>> {
        self.note(&step);
        let rows = self.rows.borrow().clone().into_iter().collect();
        Box::pin(async move { Ok(rows) })
    }
    fn call(
        &self,
        step: Step,
        _: Name,
        _: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<Value>> {
        self.note(&step);
        Box::pin(async move { Ok(input) })
    }
    fn send(&self, step: Step, _: Name, _: Name, _: Value) -> LocalBoxFuture<'_, Result<()>> {
        self.note(&step);
        Box::pin(async { Ok(()) })
    }
    fn fresh(&self, step: Step, _: Fresh) -> LocalBoxFuture<'_, Result<Value>> {
        self.note(&step);
        Box::pin(async { Ok(Value::Int(4)) })
    }
    fn joined(&self) -> Option<Name> {
        self.joined.clone()
    }
    fn begin(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        self.note(&tx.sub(&format!("{attempt}.begin")));
        *self.saved.borrow_mut() = Some(self.rows.borrow().clone());
        Box::pin(async { Ok(()) })
    }
    fn end(&self, tx: Step, attempt: u32, end: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        self.note(&tx.sub(&format!("{attempt}.end")));
        let saved = self
            .saved
            .borrow_mut()
            .take()
            .expect("a transaction is open");
        if end == TxEnd::Abort && self.isolation != Isolation::None {
            *self.rows.borrow_mut() = saved;
        }
        Box::pin(async { Ok(()) })
    }
    fn back_off(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        self.note(&tx.sub(&format!("{attempt}.pause")));
        Box::pin(async { Ok(()) })
    }
}

/// Everything here is ready at once.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

async fn bump(tx: &mut Ctx, key: &str) -> Result<i64> {
    Ok(tx
        .update("t", key, None, vec![Change::add("n", 1)])
        .await?
        .sum
        .unwrap_or(0))
}

#[test]
fn a_body_that_commits_has_its_effects_at_every_level() {
    for isolation in [Isolation::Serializable, Isolation::Tcc, Isolation::None] {
        let memory = Memory::new(isolation, 0);
        let mut ctx = memory.ctx(0);
        let done = run(ctx.transaction(async |tx| {
            bump(tx, "a").await?;
            bump(tx, "b").await
        }));
        assert_eq!(done, Ok(1));
        assert_eq!((memory.sum("a"), memory.sum("b")), (Some(1), Some(1)));
    }
}

#[test]
fn a_rejection_undoes_everything_unless_there_is_no_isolation() {
    for (isolation, left) in [
        (Isolation::Serializable, None),
        (Isolation::Tcc, None),
        (Isolation::None, Some(1)),
    ] {
        let memory = Memory::new(isolation, 0);
        let mut ctx = memory.ctx(3);
        let done: Result<()> = run(ctx.transaction(async |tx| {
            bump(tx, "a").await?;
            Err(Error::rejected("sold out"))
        }));
        assert_eq!(
            done,
            Err(Error::rejected("sold out")),
            "it is not tried again"
        );
        assert_eq!(memory.sum("a"), left);
    }
}

#[test]
fn a_conflict_is_tried_again_as_often_as_the_profile_says() {
    for (conflicts, retries, committed) in [(2, 2, true), (3, 2, false)] {
        let memory = Memory::new(Isolation::Serializable, conflicts);
        let mut ctx = memory.ctx(retries);
        let done = run(ctx.transaction(async |tx| bump(tx, "a").await));
        assert_eq!(done.is_ok(), committed, "{done:?}");
        assert_eq!(memory.sum("a"), committed.then_some(1));
        let steps = memory.steps.borrow();
        let mut distinct = steps.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(
            distinct.len(),
            steps.len(),
            "every attempt has steps of its own"
        );
    }
}

#[test]
fn a_swallowed_error_does_not_commit_a_dead_transaction() {
    let memory = Memory::new(Isolation::Serializable, 1);
    let mut ctx = memory.ctx(0);
    let done = run(ctx.transaction(async |tx| {
        drop(bump(tx, "a").await);
        bump(tx, "b").await
    }));
    assert!(matches!(done, Err(Error::Aborted(_))), "{done:?}");
    assert_eq!(memory.sum("b"), None);
}

#[test]
fn a_transaction_with_an_undecided_operation_does_not_end_whatever_its_body_makes_of_that() {
    // What the body knows when it ends, in the order of its operations.
    for (conflicts, keys, end) in [
        (0, &["a", UNKNOWN][..], Ok(())),
        (0, &[UNKNOWN, "a"], Err(Error::rejected("sold out"))),
        (
            1,
            &[UNKNOWN, "a"],
            Err(Error::Aborted("conflict".to_owned())),
        ),
        (
            1,
            &["a", UNKNOWN],
            Err(Error::Aborted("conflict".to_owned())),
        ),
        (1, &["a", UNKNOWN], Ok(())),
    ] {
        let memory = Memory::new(Isolation::Serializable, conflicts);
        let mut ctx = memory.ctx(3);
        let done = run(ctx.transaction(async |tx| {
            for (key, mut branch) in keys.iter().zip(tx.fork_many(keys.len())) {
                drop(bump(&mut branch, key).await);
            }
            end.clone()
        }));
        assert_eq!(done, Err(lost()), "{conflicts} {keys:?} {end:?}");
        assert!(!memory.ended(), "{conflicts} {keys:?} {end:?}");
        // And the handler can make no answer of it.
        assert_eq!(ctx.conclude(Ok(1)), Err(lost()));
        assert_eq!(ctx.conclude::<()>(end), Err(lost()));
    }
}

#[test]
fn a_callee_with_an_undecided_operation_has_no_answer() {
    for (conflicts, keys) in [
        (0, ["a", UNKNOWN]),
        (1, ["a", UNKNOWN]),
        (1, [UNKNOWN, "a"]),
    ] {
        let memory = Memory::callee(conflicts);
        let mut ctx = memory.ctx(0);
        let ends = keys.map(|key| run(bump(&mut ctx, key)));
        assert!(ends.contains(&Err(lost())), "{ends:?}");
        assert_eq!(ctx.conclude(Ok(1)), Err(lost()));
        let aborted = Err::<(), _>(Error::Aborted("conflict".to_owned()));
        assert_eq!(ctx.conclude(aborted), Err(lost()));
    }
    // While a conflict alone is an answer.
    let memory = Memory::callee(1);
    let mut ctx = memory.ctx(0);
    assert!(run(bump(&mut ctx, "a")).is_err());
    assert!(matches!(ctx.conclude(Ok(1)), Err(Error::Aborted(_))));
}

#[test]
fn outside_of_a_transaction_only_what_is_undecided_cannot_be_swallowed() {
    let memory = Memory::new(Isolation::Serializable, 1);
    let mut ctx = memory.ctx(0);
    let refused: Result<()> = run(ctx.transaction(async |_| Err(Error::rejected("no"))));
    assert_eq!(refused, Err(Error::rejected("no")));
    let aborted = run(ctx.transaction(async |tx| bump(tx, "a").await));
    assert!(matches!(aborted, Err(Error::Aborted(_))));
    assert_eq!(ctx.conclude(Ok(1)), Ok(1));
    let [mut branch] = ctx.fork();
    assert_eq!(run(bump(&mut branch, UNKNOWN)), Err(lost()));
    assert_eq!(ctx.conclude(Ok(1)), Err(lost()));
}

#[test]
fn a_transaction_inside_another_one_is_part_of_it() {
    let memory = Memory::new(Isolation::Serializable, 0);
    let mut ctx = memory.ctx(0);
    let done: Result<()> = run(ctx.transaction(async |tx| {
        tx.transaction(async |inner| bump(inner, "a").await).await?;
        Err(Error::rejected("no"))
    }));
    assert!(done.is_err());
    assert_eq!(
        memory.sum("a"),
        None,
        "the inner one did not commit by itself"
    );
}

#[test]
fn steps_are_paths_that_do_not_depend_on_the_order_of_branches() {
    let order = |left_first: bool| {
        let memory = Memory::new(Isolation::None, 0);
        let mut ctx = memory.ctx(0);
        run(async {
            bump(&mut ctx, "a").await.unwrap();
            let [mut left, mut right] = ctx.fork();
            let one = async |branch: &mut Ctx| {
                bump(branch, "b").await.unwrap();
                branch.now().await.unwrap();
            };
            if left_first {
                join!(one(&mut left), one(&mut right));
            } else {
                join!(one(&mut right), one(&mut left));
            }
            bump(&mut ctx, "c").await.unwrap();
        });
        let mut steps = memory.steps.borrow().clone();
        steps.sort();
        steps
    };
    assert_eq!(order(true), ["0", "1.0.0", "1.0.1", "1.1.0", "1.1.1", "2"]);
    assert_eq!(order(true), order(false));
}
