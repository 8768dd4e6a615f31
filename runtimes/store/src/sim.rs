//! [`SimStore`]: the tables behind a network, in a world.
//!
//! A call is a message. It takes half of its latency to the server, where it is evaluated and
//! applied at one instant whatever has become of the caller, and the other half back. Latencies are
//! drawn from the profile by the operation and the request that it belongs to, not by order of
//! arrival. On top comes what size costs:
//!
//! * flat data: the profile's figure per KB on the wire beyond the first;
//! * items with lists or maps in them: the (ten times higher) figure per KB of the item beyond the
//!   first, whether or not it crosses the wire, because DynamoDB reads and writes it as a whole;
//! * scans, queries and batch reads: the scan's figure per item beyond the first;
//! * batch and transactional writes: their figures per item.
//!
//! Not modelled: reads that are stale because they are eventual, conflicts between transactions
//! (here they have no duration on the server), and failures of the service.

use crate::throttle::Throttle;
use crate::{Request, Response, Store, StoreError, TableSchema, Tables};
use futures_util::future::{LocalBoxFuture, ready};
use std::cell::{Ref, RefCell, RefMut};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use triptych_model::Work;
use triptych_world::latency::{Dist, Profile, ProfileError, SizeModel};
use triptych_world::trace::{SpanId, What};
use triptych_world::{MS, Nanos, Random, RequestState, Scope, World};

/// How a [`SimStore`] behaves besides its latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Whether partitions and tables have limits (see [`Throttle`]).
    pub throttling: bool,
    /// How many items a transaction may have: 25 until September 2022, 100 since.
    pub txn_max_items: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            throttling: true,
            txn_max_items: 100,
        }
    }
}

/// The profile's distributions, looked up once.
struct Dists {
    get_strong: Dist,
    get_eventual: Dist,
    put: Dist,
    update: Dist,
    update_ok: Dist,
    /// None if failing takes as long as succeeding.
    update_fail: Option<Dist>,
    delete: Dist,
    query: Dist,
    scan: Dist,
    batch_get: Dist,
    batch_write: Dist,
    txn_get: Dist,
    txn_write: Dist,
    not_found: Dist,
}

impl Dists {
    fn new(profile: &Profile) -> Result<Self, ProfileError> {
        let update_ok = profile.require("ddb.update_cond_ok")?;
        let update_fail = profile.require("ddb.update_cond_fail")?;
        Ok(Dists {
            get_strong: profile.require("ddb.get_strong")?,
            get_eventual: profile.require("ddb.get_eventual")?,
            put: profile.require("ddb.put")?,
            update: profile.require("ddb.update")?,
            update_ok,
            update_fail: (update_ok != update_fail).then_some(update_fail),
            delete: profile.require("ddb.delete")?,
            query: profile.require("ddb.query")?,
            scan: profile.require("ddb.scan_page_small")?,
            batch_get: profile.require("ddb.batch_get")?,
            batch_write: profile.require("ddb.batch_write")?,
            txn_get: profile.require("ddb.txn_get")?,
            txn_write: profile.require("ddb.txn_write")?,
            not_found: profile.require("ddb.error_not_found")?,
        })
    }

    fn of(&self, request: &Request) -> &Dist {
        match request {
            Request::Get {
                consistent: true, ..
            } => &self.get_strong,
            Request::Get { .. } => &self.get_eventual,
            Request::Put { .. } => &self.put,
            Request::Update {
                condition: None, ..
            } => &self.update,
            Request::Update { .. } => &self.update_ok,
            Request::Delete { .. } => &self.delete,
            Request::Query { .. } => &self.query,
            Request::Scan { .. } => &self.scan,
            Request::BatchGet { .. } => &self.batch_get,
            Request::BatchWrite { .. } => &self.batch_write,
            Request::TransactGet { .. } => &self.txn_get,
            Request::TransactWrite { .. } => &self.txn_write,
        }
    }
}

const OPERATIONS: [&str; 10] = [
    "get",
    "put",
    "update",
    "delete",
    "query",
    "scan",
    "batch_get",
    "batch_write",
    "txn_get",
    "txn_write",
];

#[derive(Default)]
struct Counters {
    calls: [u64; OPERATIONS.len()],
    work: Work,
}

struct Inner {
    world: World,
    tables: RefCell<Tables>,
    throttle: Option<RefCell<Throttle>>,
    counters: RefCell<Counters>,
    dists: Dists,
    size: SizeModel,
}

/// A store in a world. See the module documentation. Cheap to clone.
#[derive(Clone)]
pub struct SimStore(Rc<Inner>);

impl SimStore {
    /// An empty store.
    ///
    /// # Errors
    /// [`ProfileError::Missing`] if the profile has no latencies of DynamoDB.
    pub fn new(
        world: &World,
        profile: &Profile,
        config: StoreConfig,
    ) -> Result<Self, ProfileError> {
        let mut tables = Tables::new();
        tables.txn_max_items = config.txn_max_items;
        Ok(SimStore(Rc::new(Inner {
            world: world.clone(),
            tables: RefCell::new(tables),
            throttle: config.throttling.then(RefCell::default),
            counters: RefCell::default(),
            dists: Dists::new(profile)?,
            size: profile.size,
        })))
    }

    /// The tables as they are on the server now, without latency: for dumps and tests.
    pub fn tables(&self) -> Ref<'_, Tables> {
        self.0.tables.borrow()
    }

    /// The tables, to load data without latency, limits or bill. Not to be held across an await.
    pub fn tables_mut(&self) -> RefMut<'_, Tables> {
        self.0.tables.borrow_mut()
    }

    /// What was done so far, and what is stored now.
    pub fn work(&self) -> Work {
        let counters = self.0.counters.borrow();
        let mut work = counters.work.clone();
        let calls = OPERATIONS
            .iter()
            .zip(counters.calls)
            .filter(|(_, count)| *count > 0);
        work.store_calls = calls
            .map(|(name, count)| ((*name).to_owned(), count))
            .collect();
        let tables = self.0.tables.borrow();
        work.stored_bytes = tables.stored_bytes();
        work.stored_items = tables.stored_items();
        work
    }
}

impl Store for SimStore {
    fn call(
        &self,
        scope: &Scope,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Response, StoreError>> {
        // The key is taken here and not when the message is sent, so that the draws of calls that
        // run side by side do not depend on who is polled first.
        let message = Box::new(Message {
            request,
            key: scope.next_key(),
            of: Rc::clone(scope.request()),
            path: scope.path(),
        });
        Box::pin(Call {
            store: Rc::clone(&self.0),
            state: State::Unsent(message),
            span: None,
        })
    }

    fn create_table(&self, schema: TableSchema) -> LocalBoxFuture<'static, Result<(), StoreError>> {
        Box::pin(ready(self.0.tables.borrow_mut().create_table(schema)))
    }
}

struct Message {
    request: Request,
    key: u64,
    /// Whose work it is, and of which execution.
    of: Rc<RequestState>,
    path: u64,
}

/// Where the reply arrives.
#[derive(Default)]
struct Mailbox {
    reply: Option<Result<Response, StoreError>>,
    waker: Option<Waker>,
}

enum State {
    Unsent(Box<Message>),
    Sent(Rc<RefCell<Mailbox>>),
    Done,
}

struct Call {
    store: Rc<Inner>,
    state: State,
    /// For whoever traces the request.
    span: Option<SpanId>,
}

impl Future for Call {
    type Output = Result<Response, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Unsent(message) => {
                let waker = Some(cx.waker().clone());
                let mailbox = Rc::new(RefCell::new(Mailbox { reply: None, waker }));
                self.state = State::Sent(Rc::clone(&mailbox));
                let world = &self.store.world;
                self.span = world.trace_begin(&message.of, message.path, What::Store, || {
                    told(&message.request)
                });
                Inner::send(&self.store, message, mailbox);
            }
            State::Sent(mailbox) => {
                let mut content = mailbox.borrow_mut();
                if let Some(reply) = content.reply.take() {
                    let (world, span) = (&self.store.world, self.span);
                    if let Err(error) = &reply {
                        world.trace_note(span, || error.to_string());
                    }
                    world.trace_end(span);
                    return Poll::Ready(reply);
                }
                match &mut content.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                drop(content);
                self.state = State::Sent(mailbox);
            }
            State::Done => {}
        }
        self.store.world.waits_for("a store reply");
        Poll::Pending
    }
}

/// The latencies of one call, by how it ends.
struct Drawn {
    sent: Nanos,
    usual: Nanos,
    if_failed: Nanos,
    factor: f64,
    random: Random,
    /// Whether the fault plan has it refused.
    refused: bool,
}

impl Inner {
    fn send(this: &Rc<Self>, message: Box<Message>, mailbox: Rc<RefCell<Mailbox>>) {
        let (request, factor) = (&message.request, message.of.factor);
        let refused = this.world.throttles(&message.of, message.key);
        let fresh = this.world.keyed(message.key);
        let usual = this.dists.of(request).draw(&mut fresh.clone(), factor);
        // Both ends come from the same luck, or knowing the outcome would change it.
        let if_failed = match (request, &this.dists.update_fail) {
            (
                Request::Update {
                    condition: Some(_), ..
                },
                Some(dist),
            ) => dist.draw(&mut fresh.clone(), factor),
            _ => usual,
        };
        let sent = this.world.now();
        let drawn = Drawn {
            sent,
            usual,
            if_failed,
            factor,
            random: fresh,
            refused,
        };
        let server = Rc::clone(this);
        this.world.after(usual / 2, move || {
            Inner::serve(&server, &message.request, drawn, mailbox)
        });
    }

    /// The server's side: applies the request, and replies if anybody still waits.
    fn serve(this: &Rc<Self>, request: &Request, mut drawn: Drawn, mailbox: Rc<RefCell<Mailbox>>) {
        let (result, size) = match drawn.refused {
            true => this.refuse(request),
            false => this.apply(request),
        };
        if Rc::strong_count(&mailbox) == 1 {
            return;
        }
        let base = match &result {
            Err(StoreError::NoSuchTable(_)) => {
                this.dists.not_found.draw(&mut drawn.random, drawn.factor)
            }
            Err(StoreError::ConditionFailed) => drawn.if_failed,
            _ => drawn.usual,
        };
        let wait = (drawn.sent + base + size).saturating_sub(this.world.now());
        this.world.after(wait, move || {
            let mut mailbox = mailbox.borrow_mut();
            mailbox.reply = Some(result);
            if let Some(waker) = mailbox.waker.take() {
                waker.wake();
            }
        });
    }

    /// Counts a request that an injected fault refuses.
    fn refuse(&self, request: &Request) -> (Result<Response, StoreError>, Nanos) {
        let mut counters = self.counters.borrow_mut();
        counters.calls[operation(request)] += 1;
        counters.work.store_throttled += 1;
        (Err(StoreError::Throttled), 0)
    }

    /// Applies a request and counts it. Answers also what its size adds to the latency.
    fn apply(&self, request: &Request) -> (Result<Response, StoreError>, Nanos) {
        let mut tables = self.tables.borrow_mut();
        let mut counters = self.counters.borrow_mut();
        counters.calls[operation(request)] += 1;
        let work = &mut counters.work;
        let plan = tables.plan(request);
        if let Some(throttle) = &self.throttle
            && !throttle
                .borrow_mut()
                .admit(self.world.now(), &plan.consumed().per_partition)
        {
            work.store_throttled += 1;
            return (Err(StoreError::Throttled), 0);
        }
        let (result, consumed) = tables.commit(plan);
        work.read_half_units += consumed.read_half_units;
        work.write_units += consumed.write_units;
        work.store_bytes_in += consumed.bytes_in;
        work.store_bytes_out += consumed.bytes_out;
        let failed = match &result {
            Err(StoreError::ConditionFailed) => true,
            Err(StoreError::Cancelled(reasons)) => {
                reasons.contains(&crate::Cancellation::ConditionFailed)
            }
            _ => false,
        };
        work.store_condition_failures += u64::from(failed);
        let size = size_latency(&self.size, request, &consumed);
        (result, size)
    }
}

/// A request in a few words, for whoever traces it.
fn told(request: &Request) -> String {
    let name = request.name();
    match request {
        Request::Get { table, .. }
        | Request::Put { table, .. }
        | Request::Update { table, .. }
        | Request::Delete { table, .. }
        | Request::Query { table, .. }
        | Request::Scan { table, .. } => format!("{name} {table}"),
        Request::BatchGet { .. }
        | Request::BatchWrite { .. }
        | Request::TransactGet { .. }
        | Request::TransactWrite { .. } => name.to_owned(),
    }
}

fn operation(request: &Request) -> usize {
    match request {
        Request::Get { .. } => 0,
        Request::Put { .. } => 1,
        Request::Update { .. } => 2,
        Request::Delete { .. } => 3,
        Request::Query { .. } => 4,
        Request::Scan { .. } => 5,
        Request::BatchGet { .. } => 6,
        Request::BatchWrite { .. } => 7,
        Request::TransactGet { .. } => 8,
        Request::TransactWrite { .. } => 9,
    }
}

/// What the size of a request adds to its latency. See the module documentation.
fn size_latency(model: &SizeModel, request: &Request, consumed: &crate::Consumed) -> Nanos {
    const KB: f64 = 1024.0;
    let bytes = if consumed.nested_excess > 0 {
        consumed.nested_excess as f64 / KB * model.nested_ms_per_kb
    } else {
        let wire = consumed.bytes_in + consumed.bytes_out;
        (wire as f64 / KB - 1.0).max(0.0) * model.flat_ms_per_kb
    };
    let items = consumed.items as f64;
    let items = match request {
        Request::Query { .. } | Request::Scan { .. } | Request::BatchGet { .. } => {
            (items - 1.0).max(0.0) * model.scan_ms_per_item
        }
        Request::BatchWrite { .. } => items * model.batch_write_ms_per_item,
        Request::TransactWrite { .. } => items * model.txn_write_ms_per_item,
        _ => 0.0,
    };
    ((bytes + items) * MS as f64) as Nanos
}
