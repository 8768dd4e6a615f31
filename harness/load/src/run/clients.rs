//! The clients of the measured load: what the generator sends, and what comes of it.

use super::system::System;
use crate::drive::{Planned, Sent};
use crate::record::Recorder;
use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use triptych_faas::Platform;
use triptych_model::{Name, Outcome, Value, mix, mix_str};
use triptych_workloads::Generator;
use triptych_world::{Life, Nanos, RequestState, Scope};

/// The clients of the measured load.
pub(super) struct Clients {
    system: Rc<System>,
    generator: Generator,
    kinds: Vec<String>,
    /// Which of the generator's requests each one is, if not all in order.
    chosen: Option<Arc<Vec<(Nanos, u64)>>>,
    /// Planned and not yet sent.
    planned: RefCell<BTreeMap<u64, triptych_workloads::Planned>>,
    /// What each session keeps for its next request.
    sessions: RefCell<BTreeMap<u32, Value>>,
    pub(super) requests: RefCell<Vec<Rc<RequestState>>>,
    pub(super) digest: Cell<u64>,
    /// Wants to know who sends what.
    recorder: Option<Rc<Recorder>>,
}

impl Clients {
    pub(super) fn new(
        system: Rc<System>,
        generator: Generator,
        chosen: Option<Arc<Vec<(Nanos, u64)>>>,
        recorder: Option<Rc<Recorder>>,
    ) -> Self {
        Clients {
            system,
            kinds: generator.kinds(),
            generator,
            chosen,
            planned: RefCell::default(),
            sessions: RefCell::default(),
            requests: RefCell::default(),
            digest: Cell::new(0),
            recorder,
        }
    }

    pub(super) fn plan(&self, index: u64) -> Planned {
        let chosen = self.chosen.as_ref().and_then(|all| all.get(index as usize));
        let position = chosen.map_or(index, |(_, position)| *position);
        let planned = self.generator.request(position);
        let text = format!("{planned:?}");
        self.digest
            .set(mix(self.digest.get(), mix_str(index, &text)));
        let request = self.system.world.begin_request(index, planned.kind);
        self.requests.borrow_mut().push(request);
        let triptych_workloads::Planned { kind, session, .. } = planned;
        if let Some(recorder) = &self.recorder {
            recorder.sent_by(index, session);
        }
        let input = planned.input.clone();
        self.planned.borrow_mut().insert(index, planned);
        Planned {
            kind,
            session,
            input,
        }
    }

    pub(super) fn send(self: &Rc<Self>, index: u64) -> LocalBoxFuture<'static, Sent> {
        let clients = Rc::clone(self);
        Box::pin(async move {
            let Some(planned) = clients.planned.borrow_mut().remove(&index) else {
                // The generator sends what it planned, once.
                let outcome = Outcome::Failed("not planned".to_owned());
                return Sent {
                    outcome,
                    observed: Value::Null,
                };
            };
            let triptych_workloads::Planned {
                kind,
                function,
                op,
                input,
                session,
            } = planned;
            let System {
                world,
                deployment,
                pool,
                app,
                ..
            } = &*clients.system;
            let request = world.request(index);
            let scope = Scope::new(Rc::clone(&request), 0, Life::new());
            let kept = clients
                .sessions
                .borrow()
                .get(&session)
                .cloned()
                .unwrap_or(Value::Null);
            let payload = deployment.request(&format!("r{index}"), &op, input.clone(), &kept);
            if let Some(recorder) = &clients.recorder {
                recorder.sends(index, session);
            }
            let reply = pool.invoke(&scope, &Name::from(function), payload).await;
            let answer = deployment.answer(reply);
            let answered = matches!(
                answer.outcome,
                Outcome::Ok | Outcome::Rejected(_) | Outcome::Aborted(_)
            );
            if let Some(recorder) = clients.recorder.as_ref().filter(|_| answered) {
                recorder.answered(index);
            }
            let mut observed = Value::Null;
            if answer.outcome == Outcome::Ok {
                world.request_answered(&request);
                observed = (app.observe)(&clients.kinds[usize::from(kind)], &input, &answer.output);
            }
            if answer.session != Value::Null {
                let mut sessions = clients.sessions.borrow_mut();
                let kept = sessions.entry(session).or_default();
                *kept = deployment.remember(kept, answer.session);
            }
            Sent {
                outcome: answer.outcome,
                observed,
            }
        })
    }
}
