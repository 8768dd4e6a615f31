//! One request step by step: which executions it caused, what each of them did, and when.
//!
//! A world that was asked to ([`crate::Options::trace`]) records spans of one request: calls of
//! functions, executions, effects and the store calls in them. Platform and store record theirs
//! through the same few methods, which cost a look at one field in every other world. Spans nest: an
//! execution lies in the call that started it, an effect in its execution, a store call in its effect.

use crate::{Nanos, RequestState, Scope, World};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};

/// What a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Somebody calls a function and waits for the reply.
    Call,
    /// An event on its way to a function, for which nobody waits.
    Event,
    /// An environment that starts cold.
    Cold,
    /// A function's code runs.
    Execution,
    /// The handler's own computing.
    Compute,
    /// A named effect: a crash point.
    Effect,
    /// One call of the store.
    Store,
}

/// Something that took time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The span that it lies in: a position before its own.
    pub parent: Option<usize>,
    /// What it is.
    pub what: What,
    /// Function, crash point or operation.
    pub name: String,
    /// When it began.
    pub start: Nanos,
    /// When it ended; nothing if it never did.
    pub end: Option<Nanos>,
    /// What happened to it: an injected fault, a refusal, a failure.
    pub notes: Vec<String>,
}

/// A span under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(usize);

/// The recorder of a world.
#[derive(Default)]
pub(crate) struct Tracer {
    request: u64,
    spans: RefCell<Vec<Span>>,
    /// The span of each execution, and of each call by the path that it starts.
    executions: RefCell<BTreeMap<u64, usize>>,
    calls: RefCell<BTreeMap<u64, usize>>,
    /// The effect whose future is being polled.
    inside: Cell<Option<usize>>,
}

impl Tracer {
    pub(crate) fn new(request: u64) -> Self {
        Tracer {
            request,
            ..Tracer::default()
        }
    }

    /// `path` is the execution's to which it belongs; the parent of an execution is its call.
    fn parent(&self, path: u64, what: What) -> Option<usize> {
        match what {
            What::Execution | What::Cold => self.calls.borrow().get(&path).copied(),
            What::Store | What::Call | What::Event if self.inside.get().is_some() => {
                self.inside.get()
            }
            _ => self.executions.borrow().get(&path).copied(),
        }
    }

    fn begin(&self, path: u64, what: What, name: String, now: Nanos) -> SpanId {
        let parent = self.parent(path, what);
        let mut spans = self.spans.borrow_mut();
        let id = spans.len();
        spans.push(Span {
            parent,
            what,
            name,
            start: now,
            end: None,
            notes: Vec::new(),
        });
        if what == What::Execution {
            self.executions.borrow_mut().insert(path, id);
        }
        SpanId(id)
    }
}

impl World {
    fn tracer(&self, request: &RequestState) -> Option<&Tracer> {
        self.recorder()
            .filter(|tracer| tracer.request == request.id)
    }

    /// Records that something begins, if its request is the one to be traced.
    pub fn trace_begin(
        &self,
        request: &RequestState,
        path: u64,
        what: What,
        name: impl FnOnce() -> String,
    ) -> Option<SpanId> {
        let tracer = self.tracer(request)?;
        Some(tracer.begin(path, what, name(), self.now()))
    }

    /// Records that it ended.
    pub fn trace_end(&self, span: Option<SpanId>) {
        if let (Some(SpanId(at)), Some(tracer)) = (span, self.recorder()) {
            let now = self.now();
            tracer.spans.borrow_mut()[at].end.get_or_insert(now);
        }
    }

    /// Records what happened to it.
    pub fn trace_note(&self, span: Option<SpanId>, note: impl FnOnce() -> String) {
        if let (Some(SpanId(at)), Some(tracer)) = (span, self.recorder()) {
            tracer.spans.borrow_mut()[at].notes.push(note());
        }
    }

    /// Records that a call starts the execution with this path.
    pub fn trace_starts(&self, span: Option<SpanId>, path: u64) {
        if let (Some(SpanId(at)), Some(tracer)) = (span, self.recorder()) {
            tracer.calls.borrow_mut().insert(path, at);
        }
    }

    /// Records that one path stands for another: the same call started one more execution.
    pub fn trace_alias(&self, path: u64, alias: u64) {
        if let Some(tracer) = self.recorder() {
            let call = tracer.calls.borrow().get(&path).copied();
            call.map(|call| tracer.calls.borrow_mut().insert(alias, call));
        }
    }

    /// Says which instance an execution is one of, if anybody wants to know.
    pub fn describe(&self, scope: &Scope, label: impl FnOnce() -> String) {
        let request = scope.request();
        let traced = self.tracer(request);
        let search = request.search.as_ref();
        let searched = search.is_some_and(|search| search.borrow().wants_labels());
        if traced.is_none() && !searched {
            return;
        }
        let label = label();
        if let Some(tracer) = traced {
            let at = tracer.executions.borrow().get(&scope.path()).copied();
            if let Some(at) = at {
                tracer.spans.borrow_mut()[at].notes.push(label.clone());
            }
        }
        scope.set_label(label);
    }

    /// What was recorded, in the order in which it began.
    pub fn traced(&self) -> Vec<Span> {
        let recorder = self.recorder();
        recorder.map_or_else(Vec::new, |tracer| tracer.spans.borrow().clone())
    }

    /// A future inside of which whatever begins lies in a span.
    pub(crate) fn inside<T>(
        &self,
        span: Option<SpanId>,
        future: std::pin::Pin<Box<impl Future<Output = T> + 'static>>,
    ) -> std::pin::Pin<Box<dyn Future<Output = T>>>
    where
        T: 'static,
    {
        let Some(SpanId(at)) = span else {
            return future;
        };
        let (world, mut future) = (self.clone(), future);
        Box::pin(poll_fn(move |cx| {
            let Some(tracer) = world.recorder() else {
                return future.as_mut().poll(cx);
            };
            let outer = tracer.inside.replace(Some(at));
            let poll = future.as_mut().poll(cx);
            tracer.inside.set(outer);
            poll
        }))
    }
}
