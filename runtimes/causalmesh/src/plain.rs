//! CausalMesh: every operation goes to the server on the execution's host, with all that the client
//! depends on and its own writes that may not be everywhere.

use crate::Bug;
use crate::servers::{READ, UPDATE, WRITE, unexpected};
use crate::source::Ring;
use triptych_api::{Result, Updated, Value};
use triptych_cached::{Announced, Edit, Here, Points, System, points};
use triptych_mesh::{Context, Key, Op, Reply, Request};

/// See the module documentation.
pub(crate) struct Plain {
    pub(crate) ring: Ring,
    pub(crate) bug: Option<Bug>,
}

impl Plain {
    async fn put(&self, here: &Here, context: &mut Context, key: Key, value: Value) -> Result<()> {
        let deps = context.deps.clone();
        let ops = vec![(key, Op::Put(value))];
        if self.bug == Some(Bug::OwnForgotten) {
            let mut forgotten = context.clone();
            return self
                .ring
                .write(here, WRITE, deps, &mut forgotten, ops)
                .await;
        }
        self.ring.write(here, WRITE, deps, context, ops).await
    }
}

impl System for Plain {
    type Context = Context;
    type Session = Context;
    type Caches = Ring;
    const POINTS: Points = points!("causalmesh");
    const ATOMIC: bool = false;

    fn caches(&self) -> &Ring {
        &self.ring
    }

    async fn begin(&self, _: &Here, session: &Context, _: &Announced) -> Result<Context> {
        Ok(session.clone())
    }

    async fn read(
        &self,
        here: &Here,
        context: &mut Context,
        keys: &[Key],
    ) -> Result<Vec<Option<Value>>> {
        let request = Request::Read {
            deps: context.deps.clone(),
            own: context.own_of(keys.iter()),
            keys: keys.to_vec(),
        };
        match self.ring.servers.ask(here, READ, request).await? {
            Reply::Read { seen, stable } => {
                if self.bug != Some(Bug::ReadsForgotten) {
                    seen.iter().for_each(|seen| context.saw(seen));
                }
                context.is_stable(&stable);
                Ok(seen.into_iter().map(|seen| seen.value).collect())
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn change(
        &self,
        here: &Here,
        context: &mut Context,
        key: Key,
        edit: Edit,
    ) -> Result<Updated> {
        let (condition, changes) = match edit {
            Edit::Put(value) => {
                self.put(here, context, key, value).await?;
                return Ok(Updated {
                    applied: true,
                    sum: None,
                });
            }
            Edit::Update { condition, changes } => (condition, changes),
        };
        let request = Request::Update {
            write: here.write,
            deps: context.deps.clone(),
            own: context.own.clone(),
            key,
            condition,
            changes,
        };
        match self.ring.servers.ask(here, UPDATE, request).await? {
            Reply::Updated {
                updated,
                seen,
                version,
                stable,
            } => {
                // Whether it was made, and what came of it, tells the client what was there.
                context.saw(&seen);
                if self.bug != Some(Bug::OwnForgotten) {
                    version.into_iter().for_each(|own| context.wrote(own));
                }
                context.is_stable(&stable);
                Ok(updated)
            }
            other => Err(unexpected(&other)),
        }
    }

    fn join(&self, context: &mut Context, branch: Context) {
        context.join(&branch);
    }

    /// Everything was sent when it was written.
    async fn commit(&self, _: &Here, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn session(&self, context: &Context) -> Context {
        context.clone()
    }

    fn merge(&self, kept: &mut Context, new: Context) {
        kept.join(&new);
    }
}
