//! FaaSTCC as functions use it: what a workflow's attempt carries, and what its operations ask of the
//! servers.

use crate::interval::Interval;
use crate::message::{Peer, Reply, Request};
use crate::server::Server;
use crate::stamp::Stamp;
use crate::{Bug, Config, Nodes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_api::{Error, Result, Updated, Value};
use triptych_cached::{Announced, Edit, Here, Points, System, points};
use triptych_mesh::Key;
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::client::unexpected;
use triptych_refreshed::cluster::{CENTRE, server};
use triptych_refreshed::{Installed, Watched, Writes, sums};
use triptych_site::Site;

const READ: &str = "faastcc.read";
const COMMIT: &str = "faastcc.commit";

/// What a client keeps between its workflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The time of the newest that it has seen or committed.
    pub low: Stamp,
}

/// What an attempt carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// When all that it has read is valid.
    interval: Interval,
    /// What it has written.
    writes: Writes,
    /// When that was committed.
    committed: Stamp,
}

/// See the module documentation.
pub struct FaasTcc {
    caches: Installed<Request, Reply, Peer, Server>,
    bug: Option<Bug>,
}

/// What is committed is shown by nobody as it was before, once every cache has a later promise.
fn pending(nodes: &Nodes) -> u64 {
    let waits: u64 = sums(nodes, &["stale", "asked", "pending"]).values().sum();
    let newest = nodes.gauge(CENTRE, "newest");
    let promises = (0..nodes.servers()).map(|index| nodes.gauge(server(index), "promise"));
    waits + promises.filter(|promise| *promise < newest).count() as u64
}

impl FaasTcc {
    /// Starts servers beside a site, if its world has virtual time.
    pub fn start(site: &Site, network: SimConfig, servers: u16, config: Config) -> Self {
        let start = || crate::start(&site.world, network, &site.store, servers, config);
        let watched = Watched {
            pending,
            counters: &["aborts", "misses", "commits", "waits"],
            gauges: &["keys", "stale"],
        };
        FaasTcc {
            caches: Installed::start(site, start, watched),
            bug: config.bug,
        }
    }

    /// The servers.
    pub fn cluster(&self) -> Option<&Nodes> {
        self.caches.cluster()
    }

    fn check(&self, context: &Context) -> Result<()> {
        match context.interval.is_empty() && self.bug != Some(Bug::JoinsUnchecked) {
            true => Err(Error::Aborted(
                "what was read was never valid at one time".to_owned(),
            )),
            false => Ok(()),
        }
    }

    async fn write(
        &self,
        here: &Here,
        context: &mut Context,
        writes: Vec<(Key, Value)>,
    ) -> Result<()> {
        match self
            .caches
            .ports()
            .ask(here, COMMIT, Request::Commit { writes })
            .await?
        {
            Reply::Committed(stamp) => {
                context.committed = context.committed.max(stamp);
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl System for FaasTcc {
    type Context = Context;
    type Session = Session;
    type Caches = Installed<Request, Reply, Peer, Server>;
    const POINTS: Points = points!("faastcc");
    const ATOMIC: bool = true;

    fn caches(&self) -> &Self::Caches {
        &self.caches
    }

    async fn begin(&self, _: &Here, session: &Session, _: &Announced) -> Result<Context> {
        let mut context = Context::default();
        if self.bug != Some(Bug::SessionIgnored) {
            context.interval.low = session.low;
        }
        Ok(context)
    }

    async fn read(
        &self,
        here: &Here,
        context: &mut Context,
        keys: &[Key],
    ) -> Result<Vec<Option<Value>>> {
        self.check(context)?;
        let other = context.writes.open(keys);
        let mut found = BTreeMap::new();
        if !other.is_empty() {
            let mut interval = context.interval;
            if interval.is_empty() {
                interval.high = interval.low;
            }
            let keys = other.clone();
            let got = match self
                .caches
                .ports()
                .ask(here, READ, Request::Read { interval, keys })
                .await?
            {
                Reply::Read(got) if got.len() == other.len() => got,
                other => return Err(unexpected(&other)),
            };
            for (key, got) in other.into_iter().zip(got) {
                match self.bug {
                    Some(Bug::NeverNarrows) => {
                        context.interval.low = context.interval.low.max(got.when.low);
                    }
                    _ => context.interval = context.interval.and(got.when),
                }
                found.insert(key, got.value);
            }
        }
        Ok(context.writes.over(keys, &found))
    }

    async fn change(
        &self,
        here: &Here,
        context: &mut Context,
        key: Key,
        edit: Edit,
    ) -> Result<Updated> {
        let seen = match &edit {
            Edit::Put(_) => None,
            Edit::Update { .. } => {
                let seen = self.read(here, context, std::slice::from_ref(&key)).await?;
                seen.into_iter().next().flatten()
            }
        };
        Ok(context.writes.edit(here.write, key, edit, seen))
    }

    fn join(&self, context: &mut Context, branch: Context) {
        context.writes.join(branch.writes.clone());
        self.undo(context, branch);
    }

    fn undo(&self, context: &mut Context, body: Context) {
        context.interval = context.interval.and(body.interval);
        context.committed = context.committed.max(body.committed);
    }

    async fn commit(&self, here: &Here, context: &mut Context) -> Result<()> {
        self.check(context)?;
        let writes = context.writes.documents();
        if self.bug == Some(Bug::CommitsApart) {
            for write in writes {
                self.write(here, context, vec![write]).await?;
            }
        } else if !writes.is_empty() {
            self.write(here, context, writes).await?;
        }
        context.writes = Writes::default();
        Ok(())
    }

    fn session(&self, context: &Context) -> Session {
        Session {
            low: context.interval.low.max(context.committed),
        }
    }

    fn merge(&self, kept: &mut Session, new: Session) {
        kept.low = kept.low.max(new.low);
    }
}
