//! A cached runtime with an app in it.

use crate::envelope::{decode, encode, kept, read_kept};
use crate::meter::Meter;
use crate::policy::{Placer, Policy};
use crate::serve::{first, read_root, serve};
use crate::system::{Caches, System};
use crate::{Bug, machine};
use std::cell::Cell;
use std::rc::Rc;
use triptych_api::{LocalBoxFuture, Name, State, Value, client_view};
use triptych_faas::{Answer, Deployment, Gauges, Handler, InvokeError, Machine, Payload, Timer};
use triptych_site::{Site, tables};

/// What all executions share.
pub(crate) struct Shared<S: System> {
    pub(crate) site: Rc<Site>,
    pub(crate) system: S,
    pub(crate) placer: Placer,
    pub(crate) meter: Meter,
    /// Makes the numbers of executions differ.
    pub(crate) executions: Cell<u64>,
    pub(crate) bug: Option<Bug>,
}

/// Puts the site's app on a system.
pub fn deploy<S: System>(site: Rc<Site>, system: S, policy: Policy) -> Rc<dyn Deployment> {
    deploy_with(site, system, policy, None)
}

/// The same with a seeded defect, if there is one.
pub fn deploy_with<S: System>(
    site: Rc<Site>,
    system: S,
    policy: Policy,
    bug: Option<Bug>,
) -> Rc<dyn Deployment> {
    let placer = Placer::new(policy, system.caches().servers());
    Rc::new(Cached(Rc::new(Shared {
        site,
        system,
        placer,
        meter: Meter::default(),
        executions: Cell::new(0),
        bug,
    })))
}

struct Cached<S: System>(Rc<Shared<S>>);

impl<S: System> Deployment for Cached<S> {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move {
            tables::create(Rc::clone(&shared.site), shared.system.caches().tables()).await?;
            shared.system.caches().prepare().await
        })
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        triptych_site::handlers(&self.0.site.app, &self.0, serve)
    }

    fn machines(&self) -> Vec<(Name, Machine)> {
        let workflows = self.0.site.app.workflows.iter();
        workflows
            .map(|workflow| (workflow.name.clone(), machine::of(&self.0, workflow)))
            .collect()
    }

    fn timers(&self) -> Vec<Timer> {
        Vec::new()
    }

    fn request(&self, id: &str, op: &str, input: Value, session: &Value) -> Payload {
        Payload::new(first(id, op, input, session).into())
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        let (outcome, output, session) = match reply {
            Ok(reply) => {
                let (reply, session) = read_root(&reply.body);
                let (outcome, output) = client_view(&reply);
                (outcome, output, session)
            }
            Err(error) => (error.outcome(), Value::Null, Value::Null),
        };
        Answer {
            outcome,
            output,
            session,
        }
    }

    /// Of two answers that crossed, a session keeps both.
    fn remember(&self, known: &Value, new: Value) -> Value {
        if new == Value::Null {
            // An answer that brings nothing takes nothing away.
            return known.clone();
        }
        let (old, (came, home)) = (read_kept(known).0, read_kept(&new));
        let both = || {
            let mut session: S::Session = decode(old.as_ref()?).ok()?;
            let came = decode(came.as_ref()?).ok()?;
            self.0.system.merge(&mut session, came);
            encode(&session).ok()
        };
        both().map_or(new, |session| kept(session, home))
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move { shared.system.caches().pending().await })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move {
            let site = Rc::clone(&shared.site);
            shared.system.caches().dump(site).await
        })
    }

    fn gauges(&self) -> LocalBoxFuture<'static, Result<Gauges, String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move { shared.system.caches().gauges().await })
    }

    fn counters(&self) -> Gauges {
        let mut counters = self.0.meter.counters();
        counters.extend(self.0.system.caches().counters());
        counters
    }
}
