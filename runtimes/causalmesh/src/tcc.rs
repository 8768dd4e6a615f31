//! CausalMesh-TCC: an attempt reads one snapshot, and its writes become visible together.
//!
//! The snapshot is taken at the root: what is stable at its server, and all that the session depends
//! on, so every server can serve it without waiting. Writes stay in the context, where the attempt's
//! own reads find them, and become one version at the root's end. What the session has written before
//! and is not in the snapshot yet is read over it. An attempt is aborted only if a server has folded
//! writes that the snapshot does not count; another one takes a newer snapshot.
//!
//! Specification §7, T1 to T4.

use crate::Bug;
use crate::servers::{COMMIT, READ, SNAPSHOT, unexpected};
use crate::source::Ring;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_api::{Change, Result, Updated, Value};
use triptych_cached::{Announced, Edit, Here, Points, System, points};
use triptych_mesh::{Clock, Context as Session, Key, Op, Reply, Request, WriteId};
use triptych_site::tables;

/// What an attempt has written and not committed, in an order that all agree on: what was known when
/// something was written comes before it. Branches have copies, so each write has an identity, and
/// what both have counts once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Buffer(BTreeMap<(u64, WriteId), (Key, Op)>);

impl Buffer {
    fn add(&mut self, write: WriteId, key: Key, op: Op) {
        let last = self.0.last_key_value().map_or(0, |((at, _), _)| *at);
        self.0.insert((last + 1, write), (key, op));
    }

    fn join(&mut self, other: Buffer) {
        self.0.extend(other.0);
    }

    /// What the writes of a key make of a value.
    fn over(&self, key: &Key, value: Option<Value>) -> Option<Value> {
        let ops = self.0.values().filter(|(written, _)| written == key);
        ops.fold(value, |value, (_, op)| op.on(value))
    }

    /// All writes, each key once.
    fn ops(self) -> Vec<(Key, Op)> {
        let mut ops: BTreeMap<Key, Op> = BTreeMap::new();
        for (key, op) in self.0.into_values() {
            let op = match (ops.remove(&key), op) {
                (Some(Op::Put(value)), op @ Op::Change(_)) => {
                    op.on(Some(value)).map_or(op, Op::Put)
                }
                (Some(Op::Change(mut first)), Op::Change(then)) => {
                    first.extend(then);
                    Op::Change(first)
                }
                (_, op) => op,
            };
            ops.insert(key, op);
        }
        ops.into_iter().collect()
    }
}

/// What an attempt carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Context {
    snapshot: Clock,
    /// What the session depends on, and has written before.
    session: Session,
    buffer: Buffer,
}

/// See the module documentation.
pub(crate) struct Tcc {
    pub(crate) ring: Ring,
    pub(crate) bug: Option<Bug>,
}

impl Tcc {
    async fn snapshot(&self, here: &Here, session: &Session) -> Result<Clock> {
        let deps = session.deps.clone();
        let request = Request::Snapshot { deps };
        match self.ring.servers.ask(here, SNAPSHOT, request).await? {
            Reply::Snapshot { snapshot } => Ok(snapshot),
            other => Err(unexpected(&other)),
        }
    }

    async fn write(&self, here: &Here, context: &mut Context, ops: Vec<(Key, Op)>) -> Result<()> {
        let mut deps = context.session.deps.clone();
        deps.join(&context.snapshot);
        let session = &mut context.session;
        self.ring.write(here, COMMIT, deps, session, ops).await
    }
}

impl System for Tcc {
    type Context = Context;
    type Session = Session;
    type Caches = Ring;
    const POINTS: Points = points!("causalmesh");
    const ATOMIC: bool = true;

    fn caches(&self) -> &Ring {
        &self.ring
    }

    async fn begin(&self, here: &Here, session: &Session, _: &Announced) -> Result<Context> {
        let snapshot = self.snapshot(here, session).await?;
        let mut session = session.clone();
        // All of it has been received everywhere, so what of it was the session's own need not travel.
        session.is_stable(&snapshot);
        Ok(Context {
            snapshot,
            session,
            buffer: Buffer::default(),
        })
    }

    async fn read(
        &self,
        here: &Here,
        context: &mut Context,
        keys: &[Key],
    ) -> Result<Vec<Option<Value>>> {
        if self.bug == Some(Bug::SnapshotRenewed) {
            context.snapshot = self.snapshot(here, &context.session).await?;
        }
        let request = Request::ReadAt {
            snapshot: context.snapshot.clone(),
            own: context.session.own_of(keys.iter()),
            keys: keys.to_vec(),
        };
        let seen = match self.ring.servers.ask(here, READ, request).await? {
            Reply::Read { seen, .. } => seen,
            other => return Err(unexpected(&other)),
        };
        let found = keys.iter().zip(seen).map(|(key, seen)| match self.bug {
            Some(Bug::OwnForgotten) => seen.value,
            _ => context.buffer.over(key, seen.value),
        });
        Ok(found.collect())
    }

    async fn change(
        &self,
        here: &Here,
        context: &mut Context,
        key: Key,
        edit: Edit,
    ) -> Result<Updated> {
        let (op, updated) = match edit {
            Edit::Put(value) => {
                let applied = true;
                (Op::Put(value), Updated { applied, sum: None })
            }
            Edit::Update { condition, changes } => {
                // What was there matters only to a condition and to a sum.
                let adds = changes.iter().any(|c| matches!(c, Change::Add(..)));
                let updated = match condition.is_some() || adds {
                    false => Updated {
                        applied: true,
                        sum: None,
                    },
                    true => {
                        let seen = self.read(here, context, std::slice::from_ref(&key)).await?;
                        let seen = seen.first().and_then(Option::as_ref);
                        tables::updated(seen, condition.as_ref(), &changes).0
                    }
                };
                (Op::Change(changes), updated)
            }
        };
        if updated.applied {
            context.buffer.add(here.write, key, op);
        }
        Ok(updated)
    }

    fn join(&self, context: &mut Context, branch: Context) {
        context.snapshot.join(&branch.snapshot);
        context.session.join(&branch.session);
        context.buffer.join(branch.buffer);
    }

    async fn commit(&self, here: &Here, context: &mut Context) -> Result<()> {
        let ops = std::mem::take(&mut context.buffer).ops();
        if ops.is_empty() {
            return Ok(());
        }
        if self.bug == Some(Bug::WrittenOneByOne) {
            let mut here = here.clone();
            for (at, op) in ops.into_iter().enumerate() {
                here.write.number = (1 << 32) + at as u64;
                self.write(&here, context, vec![op]).await?;
            }
            return Ok(());
        }
        self.write(here, context, ops).await
    }

    fn session(&self, context: &Context) -> Session {
        let mut session = context.session.clone();
        session.deps.join(&context.snapshot);
        session
    }

    fn merge(&self, kept: &mut Session, new: Session) {
        kept.join(&new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(client: u64, number: u64) -> WriteId {
        WriteId { client, number }
    }

    fn key() -> Key {
        Key::new("t", "k")
    }

    fn added(n: i64) -> Op {
        Op::Change(vec![Change::add("n", n)])
    }

    fn number(value: Option<Value>) -> Option<i64> {
        value?.get("n")?.as_int()
    }

    #[test]
    fn what_two_branches_have_both_counts_once() {
        let mut before = Buffer::default();
        before.add(write(1, 0), key(), added(1));
        let (mut left, mut right) = (before.clone(), before.clone());
        left.add(write(2, 0), key(), added(10));
        right.add(write(3, 0), key(), added(100));
        before.join(left.clone());
        before.join(right);
        before.join(left);
        assert_eq!(number(before.over(&key(), None)), Some(111));
        let ops = before.ops();
        let [(_, op)] = ops.as_slice() else {
            panic!("a key stands there twice: {ops:?}");
        };
        assert_eq!(number(op.on(None)), Some(111));
    }

    #[test]
    fn a_replacement_undoes_what_was_known_when_it_was_written() {
        let mut buffer = Buffer::default();
        buffer.add(write(9, 0), key(), added(1));
        buffer.add(
            write(1, 0),
            key(),
            Op::Put(Value::map([("n", Value::Int(5))])),
        );
        buffer.add(write(4, 0), key(), added(2));
        buffer.add(write(2, 0), Key::new("t", "other"), added(3));
        assert_eq!(number(buffer.over(&key(), None)), Some(7));
        let ops = buffer.ops();
        assert_eq!(ops.len(), 2);
        let op = &ops.iter().find(|(written, _)| *written == key()).unwrap().1;
        assert!(matches!(op, Op::Put(_)), "{op:?}");
        assert_eq!(number(op.on(Some(Value::Null))), Some(7));
    }
}
