//! What surrounds every function: at the root of a workflow its attempts, elsewhere its part in one.

use crate::envelope::{
    Carried, Encoded, Envelope, Load, decode, encode, kept, part_reply, read_kept, size,
};
use crate::machine::{BEGIN, COMMIT};
use crate::meter::count;
use crate::run::{Run, Who};
use crate::system::{Announced, Attempt, System};
use crate::{Bug, Shared};
use std::rc::Rc;
use triptych_api::{Call, Error, Name, ReadSet, Result, Step, Value, decode_reply, encode_reply};
use triptych_faas::Execution;
use triptych_mesh::Key;
use triptych_site::Effects;
use triptych_world::{MS, Nanos, mix};

/// The longest pause after the first attempt; it doubles with each of the next ones, up to 64 times.
const PAUSE: Nanos = MS;

/// What a root replies: its reply, and what the session keeps if it learned anything.
fn root_reply(reply: Value, kept: Option<Value>) -> Value {
    let kept = kept.map(|kept| ("kept", kept));
    Value::map([("reply", reply)].into_iter().chain(kept))
}

/// What a client finds in the reply of a root: the reply, and what to keep.
pub(crate) fn read_root(body: &Value) -> (Value, Value) {
    let field = |name| body.get(name).cloned().unwrap_or_default();
    (field("reply"), field("kept"))
}

/// How an attempt ended.
enum End {
    /// With this reply, and what the session keeps.
    Replied(Value, Value),
    /// It was aborted.
    Aborted,
}

/// Serves a call or an event.
pub(crate) async fn serve<S: System>(shared: Rc<Shared<S>>, execution: Execution) -> Result<Value> {
    let envelope = Envelope::try_from(&execution.payload.body)?;
    let (site, scope) = (Rc::clone(&shared.site), execution.scope);
    let told = || format!("{} of {}", envelope.op, envelope.instance);
    site.world.describe(&scope, told);
    let effects = Effects { site, scope };
    let served = Served {
        shared,
        effects,
        function: execution.function,
        envelope,
    };
    match &served.envelope.load {
        Load::Session(_) if &*served.envelope.op == BEGIN => served.begin_workflow().await,
        Load::Session(session) => served.root(session.as_ref()).await,
        Load::Part {
            attempt,
            tx,
            carried,
        } => {
            let carried = Carried::decode(carried)?;
            served.part(attempt.clone(), tx.clone(), carried).await
        }
    }
}

/// An execution that is being served.
struct Served<S: System> {
    shared: Rc<Shared<S>>,
    effects: Effects,
    function: Name,
    envelope: Envelope,
}

impl<S: System> Served<S> {
    /// A number that no other execution has: as good as random, yet the same in every run of a
    /// simulation.
    fn number(&self) -> u64 {
        let count = self.shared.executions.get();
        self.shared.executions.set(count + 1);
        let key = mix(self.effects.scope.next_key(), count);
        self.effects.site.world.keyed(key).bits()
    }

    /// A run of this execution.
    fn run(
        &self,
        place: (usize, Option<usize>),
        attempt: Attempt,
        joined: Option<Name>,
        carried: Carried<S::Context>,
    ) -> Rc<Run<S>> {
        let (server, home) = place;
        let who = Who {
            number: self.number(),
            function: self.function.clone(),
            instance: self.envelope.instance.clone(),
            attempt,
            server,
            home,
            joined,
        };
        let (shared, effects) = (Rc::clone(&self.shared), self.effects.clone());
        Rc::new(Run::new(shared, effects, who, carried))
    }

    /// What the call announces to read.
    fn announced(&self, call: &Call) -> Option<ReadSet> {
        let function = self.effects.site.app.function(&self.function)?;
        (function.reads)(call)
    }

    /// Where a root runs, and where its workflow stays.
    fn place(&self) -> (usize, Option<usize>) {
        let (placer, envelope) = (&self.shared.placer, &self.envelope);
        let home = placer.home(envelope.home, &envelope.instance);
        (placer.server(self.effects.scope.path(), home), home)
    }

    // ---- Roots ----

    async fn root(&self, session: Option<&Value>) -> Result<Value> {
        let session = match session {
            Some(session) if self.shared.bug != Some(Bug::SessionIgnored) => decode(session)?,
            _ => S::Session::default(),
        };
        let (place, root) = (self.place(), self.number());
        let meter = &self.shared.meter;
        for number in 0.. {
            let attempt = Attempt { root, number };
            match self.attempt(place, attempt, &session).await? {
                End::Replied(reply, kept) => return Ok(root_reply(reply, Some(kept))),
                End::Aborted => count(&meter.aborts, 1),
            }
            if number >= self.effects.site.retries.0 {
                break;
            }
            self.pause(number).await;
        }
        count(&meter.given_up, 1);
        let aborted = Error::Aborted("every attempt was aborted".to_owned());
        let reply = encode_reply(Err(aborted)).map_err(Error::Bug)?;
        Ok(root_reply(reply, None))
    }

    async fn pause(&self, attempt: u32) {
        let world = &self.effects.site.world;
        let most = PAUSE << attempt.min(6);
        let pause = world.keyed(self.effects.scope.next_key()).below(most);
        world.sleep(pause).await;
    }

    /// One attempt, from its begin to its end.
    async fn attempt(
        &self,
        place: (usize, Option<usize>),
        attempt: Attempt,
        session: &S::Session,
    ) -> Result<End> {
        let call = self.envelope.call();
        let read_set = self.announced(&call);
        let whole: Announced = read_set.as_ref().map(|set| {
            let all = set.here.iter().chain(&set.below).cloned();
            keys(all.collect())
        });
        let run = self.run(place, attempt, None, Carried::default());
        let begun = self.begin(&run, session, &whole).await;
        let ended = match begun {
            Ok(()) => {
                let here = keys(read_set.unwrap_or_default().here);
                handle(&run, call, &here).await
            }
            Err(error) => Err(error),
        };
        finish(&run, ended).await
    }

    async fn begin(&self, run: &Run<S>, session: &S::Session, announced: &Announced) -> Result<()> {
        let here = run.here(&Step::new("begin"));
        let begun = self.shared.system.begin(&here, session, announced).await;
        let mut carried = Carried::default();
        match carried.rest.judge(begun) {
            Ok(context) => {
                carried.context = context;
                run.start(carried);
                Ok(())
            }
            Err(error) => {
                run.start(carried);
                Err(error)
            }
        }
    }

    /// The beginning of a workflow that the platform runs.
    async fn begin_workflow(&self) -> Result<Value> {
        let session = match &self.envelope.load {
            Load::Session(Some(session)) => decode(session)?,
            _ => S::Session::default(),
        };
        let (place, root) = (self.place(), self.number());
        let attempt = Attempt { root, number: 0 };
        let run = self.run(place, attempt, None, Carried::default());
        let begun = self.begin(&run, &session, &None).await;
        let reply = encode_reply(begun.map(|()| Value::Int(root as i64))).map_err(Error::Bug)?;
        Ok(self.bring_back(reply, run.end().encode()?))
    }

    // ---- Parts ----

    async fn part(
        &self,
        attempt: Attempt,
        tx: Option<Name>,
        carried: Carried<S::Context>,
    ) -> Result<Value> {
        let home = self.envelope.home;
        let server = self.shared.placer.server(self.effects.scope.path(), home);
        let run = self.run((server, home), attempt, tx, carried);
        let call = self.envelope.call();
        if &*call.op == COMMIT {
            return self.commit_workflow(&run, &call).await;
        }
        let here = keys(self.announced(&call).unwrap_or_default().here);
        let reply = handle(&run, call, &here).await?;
        Ok(self.bring_back(reply, run.end().encode()?))
    }

    fn bring_back(&self, reply: Value, carried: Encoded) -> Value {
        self.shared.meter.carried(size(&carried.context));
        part_reply(reply, carried)
    }

    /// The end of a workflow that the platform runs, of which all nodes have ended.
    async fn commit_workflow(&self, run: &Rc<Run<S>>, call: &Call) -> Result<Value> {
        match finish(run, Ok(call.input.clone())).await? {
            End::Replied(reply, kept) => Ok(root_reply(reply, Some(kept))),
            End::Aborted => {
                count(&self.shared.meter.aborts, 1);
                count(&self.shared.meter.given_up, 1);
                let aborted = Error::Aborted("the workflow was aborted".to_owned());
                let reply = encode_reply(Err(aborted)).map_err(Error::Bug)?;
                Ok(root_reply(reply, None))
            }
        }
    }
}

fn keys(keys: Vec<triptych_api::TableKey>) -> Vec<Key> {
    let key = |(table, key)| Key { table, key };
    keys.into_iter().map(key).collect()
}

/// Runs the function's code.
async fn handle<S: System>(run: &Rc<Run<S>>, call: Call, announced: &[Key]) -> Result<Value> {
    if !announced.is_empty() {
        match run.arrive(announced).await {
            Ok(()) => {}
            Err(error @ Error::Aborted(_)) => return encode_reply(Err(error)).map_err(Error::Bug),
            Err(error) => return Err(error),
        }
    }
    let site = Rc::clone(&run.shared.site);
    let instance = Rc::clone(run) as Rc<dyn triptych_api::Instance>;
    triptych_site::run(&site, &run.function, instance, call).await
}

/// Ends an attempt at its root, whose code ended like this.
async fn finish<S: System>(run: &Rc<Run<S>>, ended: Result<Value>) -> Result<End> {
    let shared = &run.shared;
    let mut carried = run.end();
    let committed = match &ended {
        Ok(reply) if !carried.rest.doomed => commit(run, reply, &mut carried).await,
        _ => Ok(()),
    };
    let here = run.here(&Step::new("cleanup"));
    shared.system.cleanup(&here, &carried.context).await;
    if carried.rest.doomed {
        return Ok(End::Aborted);
    }
    let reply = ended?;
    committed?;
    let session = match shared.bug {
        Some(Bug::SessionDropped) => S::Session::default(),
        _ => shared.system.session(&carried.context),
    };
    let session = encode(&session)?;
    shared.meter.carried(size(&session));
    Ok(End::Replied(reply, kept(session, run.home)))
}

/// Commits an attempt that has this reply, unless a refusal undoes it, and hands over what it sent.
async fn commit<S: System>(
    run: &Rc<Run<S>>,
    reply: &Value,
    carried: &mut Carried<S::Context>,
) -> Result<()> {
    let shared = &run.shared;
    let refused = decode_reply(reply).is_err() && shared.bug != Some(Bug::CommitOnRefusal);
    if S::ATOMIC && refused {
        return Ok(());
    }
    let here = run.here(&Step::new("commit"));
    let committed = shared.system.commit(&here, &mut carried.context).await;
    carried.rest.judge(committed)?;
    for (_, event) in std::mem::take(&mut carried.rest.events) {
        run.hand_over(event, &carried.context).await?;
    }
    Ok(())
}

/// What a client sends first, given what it has kept.
pub(crate) fn first(id: &str, op: &str, input: Value, known: &Value) -> Envelope {
    let (session, home) = read_kept(known);
    Envelope {
        instance: Name::from(id),
        op: Name::from(op),
        input,
        home,
        load: Load::Session(session),
    }
}
