//! Recording what transactions do to lists, on any runtime, without the runtime knowing.
//!
//! Every function's handler is wrapped so that its context tells a [`Recorder`] of every operation on
//! data ([`triptych_api::Observer`]). The recorder knows the world's time and which client sent which
//! request, and makes a [`History`] of it once the run is quiet and the final state is there.
//!
//! * **Which rows.** Those that the app calls lists ([`App::elements`]). A read of such a row is a
//!   read of a list; a change that leaves one element more is an append. A row from which elements
//!   vanish is no such list and is left out, and the history says so.
//! * **Repeated executions.** Where a runtime promises exactly-once, all executions of an instance
//!   are one: the first value of a step counts, and a later one that differs is a finding. Elsewhere
//!   each execution stands for itself.
//! * **When.** An operation is heard of when it returns. One outside transactions may have happened
//!   at any time since its instance first began; a transaction begins when it says so. So intervals
//!   are never too short, and no order is concluded that there was not.
//! * **Crashes.** An effect whose execution died before it returned is known from what it left alone:
//!   it is a transaction of its own with an unknown end.
//! * **Causes.** What happened before what is recorded beside it ([`causes`]).
//! * **Limits.** Operations of one transaction count in the order in which they returned: an app that
//!   reads and appends to the same list in parallel branches of one transaction cannot be judged.
//!   A workflow that the platform runs as a transaction has no end that anybody hears of; its reads
//!   are not judged.

mod book;
mod causes;
mod finish;
mod tally;

use book::Book;
use causes::Scribe;
use std::cell::RefCell;
use std::rc::Rc;
use tally::Tally;
use triptych_api::{App, Ctx, Function, Observer, Seen, What};
use triptych_model::history::{History, NOBODY};
use triptych_model::{Name, State, Transactions};
use triptych_world::{Nanos, World};

/// Records one world's history.
pub struct Recorder {
    world: World,
    book: RefCell<Book>,
    causes: RefCell<Scribe>,
    tally: RefCell<Tally>,
    /// Of a request: the client that sent it.
    sessions: RefCell<Vec<u32>>,
}

/// Listens to one execution.
struct Listener {
    recorder: Rc<Recorder>,
    execution: u64,
    /// When its instance first began, or this execution where each stands for itself.
    since: Nanos,
}

impl Recorder {
    /// Has an app watched. `exactly_once` says that executions of one instance are one.
    pub fn watch(world: &World, app: &mut App, exactly_once: bool) -> Rc<Recorder> {
        let recorder = Rc::new(Recorder {
            world: world.clone(),
            book: RefCell::new(Book::new(app.elements, exactly_once)),
            causes: RefCell::new(Scribe::new(app.elements, exactly_once)),
            tally: RefCell::default(),
            sessions: RefCell::default(),
        });
        for function in &mut app.functions {
            recorder.wrap(function);
        }
        recorder
    }

    fn wrap(self: &Rc<Self>, function: &mut Function) {
        let (recorder, inner) = (Rc::clone(self), Rc::clone(&function.handler));
        let name = function.name.clone();
        function.handler = Rc::new(move |ctx: &mut Ctx, call| {
            let now = recorder.world.now();
            let instance = ctx.instance_id();
            let (execution, since) = recorder.book.borrow_mut().begin(instance, now);
            let asked = (&name, &call.op, &call.input);
            let mut causes = recorder.causes.borrow_mut();
            causes.begin(execution, ctx.request(), instance, asked);
            drop(causes);
            ctx.observe(Rc::new(Listener {
                recorder: Rc::clone(&recorder),
                execution,
                since,
            }));
            let (recorder, handled) = (Rc::clone(&recorder), inner(ctx, call));
            Box::pin(async move {
                let result = handled.await;
                recorder.causes.borrow_mut().end(execution);
                result
            })
        });
    }

    /// Notes who sends a request. Requests are numbered densely.
    pub fn sent_by(&self, request: u64, session: u32) {
        let mut sessions = self.sessions.borrow_mut();
        let at = request as usize;
        if sessions.len() <= at {
            sessions.resize(at + 1, NOBODY);
        }
        sessions[at] = session;
    }

    /// A client sends a request now, after everything that it was answered.
    pub fn sends(&self, request: u64, session: u32) {
        self.causes.borrow_mut().sent(request, session);
    }

    /// The client has the answer.
    pub fn answered(&self, request: u64) {
        self.causes.borrow_mut().answered(request);
    }

    /// What became of transactions so far.
    pub fn transactions(&self) -> Transactions {
        self.tally.borrow().transactions()
    }

    /// The history, once nothing happens any more. A state in which something is still pending is
    /// not final.
    pub fn finish(&self, state: &State) -> History {
        let book = self.book.replace(Book::new(|_, _| None, false));
        let sessions = self.sessions.borrow();
        let session = |request: u64| {
            let known = usize::try_from(request)
                .ok()
                .and_then(|at| sessions.get(at));
            known.copied().unwrap_or(NOBODY)
        };
        let mut history = finish::finish(book, state, &session);
        history.truncated = unfinished(state);
        let causes = self.causes.replace(Scribe::new(|_, _| None, false));
        history.causes = causes.finish(state);
        history
    }
}

/// Why a state is not final, if it is not.
fn unfinished(state: &State) -> Option<String> {
    let pending = state.pending.first();
    pending.map(|pending| format!("not quiet when the final state was read: {pending}"))
}

impl Observer for Listener {
    fn observe(&self, seen: &Seen<'_>) {
        let now = self.recorder.world.now();
        self.recorder.tally.borrow_mut().hear(seen);
        let mut book = self.recorder.book.borrow_mut();
        let who = book::Who {
            request: seen.request,
            instance: seen.instance,
            transaction: seen.transaction,
            step: seen.step,
            execution: self.execution,
            since: self.since,
            now,
        };
        let mut causes = self.recorder.causes.borrow_mut();
        match &seen.what {
            What::Read {
                table,
                key,
                value,
                look,
            } => {
                book.read(&who, table, key, *value);
                causes.read(&who, (table, key), *value, *look);
            }
            What::Write { table, key, value } => {
                book.write(&who, table, key, value);
                causes.write(&who, table, key, value);
            }
            What::Update {
                table,
                key,
                changes,
                updated,
            } => {
                if updated.applied {
                    book.update(&who, table, key, changes);
                }
                causes.update(&who, (table, key), changes, *updated);
            }
            What::Calling {
                function,
                op,
                input,
            } => causes.calling(&who, (function, op, input)),
            What::Called {
                function,
                op,
                input,
            } => causes.called(&who, (function, op, input)),
            What::Begin => {
                book.transaction(&who);
            }
            // Until more is heard, nobody knows.
            What::Committing => {}
            What::Committed => {
                book.end(&who, true);
                causes.ended(&who, true);
            }
            What::Aborted { .. } => {
                book.end(&who, false);
                causes.ended(&who, false);
            }
        }
    }
}

/// A list by its table and its key in it.
type Place = (Name, Name);

#[cfg(test)]
mod tests;
