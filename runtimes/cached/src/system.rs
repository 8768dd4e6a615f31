//! What a cached runtime implements: its servers ([`Caches`]), and a [`System`] of them, as the
//! functions of an app use it.
//!
//! An *attempt* is one try at a workflow: the client's request, or an event, with everything that it
//! calls and awaits. It begins at its root with what the session knows, and everything on the way
//! carries a [`System::Context`]: a call takes it along and its reply brings it back, a branch gets a
//! copy, and where branches meet, theirs are joined. At the root's end the attempt commits, and what
//! the session shall know next time is taken from its context. Executions of functions run on the
//! hosts of cache servers, and which one is for the policy to say, call by call.
//!
//! What surrounds all this (envelopes, branches, retries, events) is the same for every system and
//! stands in this crate; a system says only what each operation is to its caches.
//!
//! An operation that returns [`Error::Aborted`] dooms its attempt, whatever the app makes of the
//! error: the root gives the attempt up, waits, and begins another one, as often as the profile says.
//!
//! [`Error::Aborted`]: triptych_api::Error::Aborted

use crate::Points;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use triptych_api::{Change, Condition, Name, Result, State, Step, Updated, Value};
use triptych_faas::Gauges;
use triptych_mesh::{Key, WriteId};
use triptych_site::{Effects, Site, tables};
use triptych_store::TableSchema;

/// Where an operation happens, and on whose behalf.
#[derive(Clone)]
pub struct Here {
    /// The site and the execution's scope. Whatever reaches a server, a store or another function is
    /// one of its effects, with a name of its own: a crash point.
    pub effects: Effects,
    /// The server on whose host the execution runs, from 0.
    pub server: usize,
    /// The attempt: no other one has the same.
    pub attempt: Attempt,
    /// The instance.
    pub instance: Name,
    /// The operation's place in the instance.
    pub step: Step,
    /// What a write of this operation is known by: no other operation of any execution has the same.
    pub write: WriteId,
}

/// Which try at which workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// A number that no other execution of a root has.
    pub root: u64,
    /// Which of this execution's tries, from 0.
    pub number: u32,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Replaces the value.
    Put(Value),
    /// Changes the document if the condition holds of it; what is missing counts as an empty one.
    Update {
        /// The condition; none holds always.
        condition: Option<Condition>,
        /// The changes.
        changes: Vec<Change>,
    },
}

/// What could be done or seen from outside of any execution, or why not, in words.
pub type Told<T> = std::result::Result<T, String>;

/// What an attempt's root knows of its reads before it begins: of the whole workflow, and nothing if
/// the app does not say.
pub type Announced = Option<Vec<Key>>;

/// The cache servers of an installation, as they are seen from outside of any execution.
#[allow(
    async_fn_in_trait,
    reason = "a world is one thread, so nobody needs futures to be Send"
)]
pub trait Caches {
    /// The tables that it needs besides the app's.
    fn tables(&self) -> Vec<TableSchema> {
        Vec::new()
    }

    /// How many servers there are; at least one.
    fn servers(&self) -> usize;

    /// Waits until they serve.
    ///
    /// # Errors
    /// Why it never will, in words.
    async fn prepare(&self) -> Told<()>;

    /// How much is on its way that nobody waits for: writes that are not everywhere yet, or not in
    /// the backing store. Looked at from outside, for free.
    ///
    /// # Errors
    /// Why it cannot be said, in words.
    async fn pending(&self) -> Told<u64> {
        Ok(0)
    }

    /// What is left once nothing is pending: with what each server has beside it ([`copies`]), so that
    /// whether they agree can be judged.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    async fn dump(&self, site: Rc<Site>) -> Told<State> {
        tables::state(&site).await
    }

    /// What it has done so far, besides what this crate counts for every system.
    fn counters(&self) -> Gauges {
        Gauges::new()
    }

    /// What it keeps at the moment.
    ///
    /// # Errors
    /// Why it cannot be said, in words.
    async fn gauges(&self) -> Told<Gauges> {
        Ok(Gauges::new())
    }
}

/// See the module documentation. No method may keep a lock or a borrow over an await: branches of one
/// attempt, and many attempts, are under way at once.
///
/// # Errors
/// All that return [`Result`]: [`Error::Aborted`] as above; [`Error::Interrupted`] if a server or the
/// store does not answer, which ends the execution without an answer; [`Error::Bug`] for what cannot
/// have come from this system.
///
/// [`Error::Aborted`]: triptych_api::Error::Aborted
/// [`Error::Interrupted`]: triptych_api::Error::Interrupted
/// [`Error::Bug`]: triptych_api::Error::Bug
#[allow(
    async_fn_in_trait,
    reason = "a world is one thread, so nobody needs futures to be Send"
)]
pub trait System: 'static {
    /// What an attempt carries. The default is that of nobody who has seen nothing.
    type Context: Clone + Default + Serialize + DeserializeOwned + 'static;
    /// What a client keeps between its requests, and an event takes along. The default is that of a
    /// client that has done nothing.
    type Session: Clone + Default + Serialize + DeserializeOwned + 'static;

    /// Its servers.
    type Caches: Caches;

    /// The names of the effects that this crate has on the system's behalf: `points!("name")`.
    const POINTS: Points;

    /// Whether the writes of an attempt become visible at its commit, all together. Then events are
    /// handed over after it, and a transaction whose body aborts leaves nothing of what it wrote.
    const ATOMIC: bool;

    /// Its servers.
    fn caches(&self) -> &Self::Caches;

    /// Begins an attempt at its root.
    async fn begin(
        &self,
        here: &Here,
        session: &Self::Session,
        announced: &Announced,
    ) -> Result<Self::Context>;

    /// A function is about to run at `here`, which announces what it will read itself. The root's
    /// comes after [`System::begin`].
    async fn arrive(
        &self,
        _here: &Here,
        _context: &mut Self::Context,
        _announced: &[Key],
    ) -> Result<()> {
        Ok(())
    }

    /// The values of some keys, in their order, as one look where the system can.
    async fn read(
        &self,
        here: &Here,
        context: &mut Self::Context,
        keys: &[Key],
    ) -> Result<Vec<Option<Value>>>;

    /// Changes a key.
    async fn change(
        &self,
        here: &Here,
        context: &mut Self::Context,
        key: Key,
        edit: Edit,
    ) -> Result<Updated>;

    /// What a branch or a callee has seen and done is now seen and done by whoever goes on after it.
    /// It began with a copy of this context, or of an earlier state of it; and it may have been joined
    /// already, as it is or as it was earlier. So a join is idempotent, and forgets nothing.
    fn join(&self, context: &mut Self::Context, branch: Self::Context);

    /// The body of a transaction has aborted, which had this: nothing of what it wrote stays, but what
    /// it read was read. Only asked if [`System::ATOMIC`].
    fn undo(&self, _context: &mut Self::Context, _body: Self::Context) {}

    /// The attempt has ended well: all of its writes become visible, if they are not. With
    /// [`Error::Aborted`] none does, and the attempt is made again. Without [`System::ATOMIC`] it may
    /// also have ended with a refusal.
    ///
    /// [`Error::Aborted`]: triptych_api::Error::Aborted
    async fn commit(&self, here: &Here, context: &mut Self::Context) -> Result<()>;

    /// The attempt is over, however it ended: after [`System::commit`], or instead of it. Servers may
    /// forget what they keep for it. Executions that crash never come here.
    async fn cleanup(&self, _here: &Here, _context: &Self::Context) {}

    /// What a client knows that goes on after all this; of an attempt that did not commit, what it
    /// has read.
    fn session(&self, context: &Self::Context) -> Self::Session;

    /// Two requests of a session may be under way at once: what it keeps after one of them, and what
    /// the other one brings, as one.
    fn merge(&self, kept: &mut Self::Session, new: Self::Session);

    /// All documents of a table and their keys: a look at the backing store, which is not causal. The
    /// attempt's own writes are put on top by whoever asks.
    async fn scan(&self, here: &Here, table: &Name) -> Result<Vec<(Name, Value)>> {
        let request = triptych_store::Request::scan(table);
        let items = here.effects.pages(Self::POINTS.scan, request).await?;
        Ok(tables::rows(items).into_iter().collect())
    }
}

/// Adds to a final state what one server has of some keys; null of a key that has no document.
pub fn copies(state: &mut State, server: &str, documents: impl IntoIterator<Item = (Key, Value)>) {
    let copy = state.copies.entry(Name::from(server)).or_default();
    for (key, document) in documents {
        let rows = copy.entry(key.table).or_default();
        rows.insert(key.key, document);
    }
}
