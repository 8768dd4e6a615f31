//! The controller as a node.

use super::attempt::Attempt;
use super::disk;
use super::ending::Ending;
use super::plan::{self, Shortage};
use super::register::{Acceptor, Proposer};
use super::watch::Watch;
use crate::message::{Failure, Message, Reply, Request};
use crate::{Ballot, Config, Member, View, ViewId};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use triptych_nodes::{Durability, Nanos, Node, NodeId, Out, Peer, Stored};

/// The timer by which it looks around.
const LOOK: u64 = 0;

/// How many views are sent in one message; who lacks more asks again.
const BATCH: usize = 64;

/// What may be said when something is durable, and to whom.
#[derive(Debug)]
struct Done {
    to: NodeId,
    message: Message,
}

/// A node that decides views.
pub struct Controller {
    config: Rc<Config>,
    me: NodeId,
    /// All that were chosen, from the first on.
    views: Vec<Arc<View>>,
    /// Chosen ones that come after some which are not known.
    later: BTreeMap<ViewId, Arc<View>>,
    /// Of views that are not known to be chosen.
    registers: BTreeMap<ViewId, Acceptor<Arc<View>>>,
    /// Registers in which this controller takes no part, because it has lost what it promised.
    lost: BTreeSet<ViewId>,
    /// The highest round of a ballot that was seen.
    round: u32,
    watch: Watch,
    attempt: Option<Attempt>,
    waits: BTreeMap<u64, Done>,
    token: u64,
    /// When the other controllers were last told that this one lives.
    told: Option<Nanos>,
    /// The shortage that an operator was told of.
    shortage: Option<Shortage>,
    notices: Vec<String>,
    now: Nanos,
    attempts: u64,
    decided: u64,
}

impl Controller {
    /// The factory: a controller with what it finds.
    pub fn recover(config: Rc<Config>, node: NodeId, stored: &dyn Stored) -> Self {
        let found = disk::recover(stored);
        let rounds = found.registers.values();
        let round = rounds.map(|acceptor| acceptor.promised().round).max();
        let mut controller = Controller {
            watch: Watch::new(Rc::clone(&config), node, 0),
            config,
            me: node,
            views: Vec::new(),
            later: found.views,
            registers: found.registers,
            lost: found.lost,
            round: round.unwrap_or(0),
            attempt: None,
            waits: BTreeMap::new(),
            token: 0,
            told: None,
            shortage: None,
            notices: found.notices,
            now: 0,
            attempts: 0,
            decided: 0,
        };
        controller.follow();
        controller
    }

    /// The views that were chosen, as far as they are known, from the first on.
    pub fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    fn newest(&self) -> ViewId {
        self.views.last().map_or(0, |view| view.id)
    }

    fn others(&self) -> Vec<NodeId> {
        let others = self.config.controllers.iter().copied();
        others.filter(|&node| node != self.me).collect()
    }

    /// Tells other controllers that this one lives and what it knows; they send what it lacks.
    fn tell(&self, to: &[NodeId], out: &mut Out<Message>) {
        for &node in to {
            let alive = Message::Alive {
                // A controller's memory survives; it has one life.
                member: Member {
                    node: self.me,
                    life: 1,
                },
                view: self.newest(),
                complete: 0,
                sealed: 0,
            };
            out.send(node, alive);
        }
    }

    /// Sends a node what it lacks, if it knows so many.
    fn inform(&self, node: NodeId, knows: ViewId, out: &mut Out<Message>) {
        let views = self.views.iter().skip(usize::from(knows)).take(BATCH);
        let views: Vec<_> = views.cloned().collect();
        if !views.is_empty() {
            out.send(node, Message::Views { views });
        }
    }

    // What is chosen.

    /// A view is chosen. Whether it is the next, and was not known.
    fn choose(&mut self, view: Arc<View>, out: &mut Out<Message>) -> bool {
        if view.id <= self.newest() || view.id == 0 {
            return false;
        }
        let before = self.newest();
        if self.later.contains_key(&view.id) {
            return false;
        }
        out.persist(None, disk::choose(&view), Durability::Synced);
        self.lost.remove(&view.id);
        self.later.insert(view.id, view);
        self.follow();
        let newest = self.newest();
        if self.attempt.as_ref().is_some_and(|it| it.view <= newest) {
            self.attempt = None;
        }
        newest > before
    }

    fn follow(&mut self) {
        while let Some(view) = self.later.remove(&(self.newest().saturating_add(1))) {
            self.registers.remove(&view.id);
            self.views.push(view);
        }
    }

    /// This controller has had a view chosen: everybody is told at once.
    fn announce(&mut self, view: Arc<View>, out: &mut Out<Message>) {
        self.decided += 1;
        for node in self.others() {
            let value = Arc::clone(&view);
            out.send(node, Message::Chosen { value });
        }
        if self.choose(view, out) {
            for node in self.watch.configured() {
                self.inform(node, self.watch.knows(node), out);
            }
        }
    }

    // The register.

    /// Says something to a controller that may be this one.
    fn say(&mut self, to: NodeId, message: Message, out: &mut Out<Message>) {
        if to == self.me {
            self.register(to, message, out);
        } else {
            out.send(to, message);
        }
    }

    /// The acceptor of a register, if this controller takes part in it and the view is not chosen;
    /// who asks about a chosen one is told.
    fn acceptor(
        &mut self,
        from: NodeId,
        view: ViewId,
        ballot: Ballot,
        out: &mut Out<Message>,
    ) -> Option<&mut Acceptor<Arc<View>>> {
        let index = usize::from(view).checked_sub(1)?;
        let chosen = self.views.get(index).or_else(|| self.later.get(&view));
        if let Some(value) = chosen.cloned() {
            self.say(from, Message::Chosen { value }, out);
            return None;
        }
        if ballot.round == 0 || self.lost.contains(&view) {
            return None;
        }
        let register = self.registers.entry(view);
        Some(register.or_insert_with(|| Acceptor::new(None)))
    }

    /// Says something when the register of a view is durable as it is now.
    fn when_durable(&mut self, view: ViewId, to: NodeId, message: Message, out: &mut Out<Message>) {
        if let Some(acceptor) = self.registers.get(&view) {
            self.token += 1;
            let writes = disk::register(view, acceptor);
            out.persist(Some(self.token), writes, Durability::Synced);
            self.waits.insert(self.token, Done { to, message });
        }
    }

    fn prepare(&mut self, from: NodeId, view: ViewId, ballot: Ballot, out: &mut Out<Message>) {
        let Some(acceptor) = self.acceptor(from, view, ballot, out) else {
            return;
        };
        match acceptor.prepare(ballot) {
            Ok(accepted) => {
                let promise = Message::Promise {
                    view,
                    ballot,
                    accepted,
                };
                self.when_durable(view, from, promise, out);
            }
            Err(promised) => self.say(from, Message::Refused { view, promised }, out),
        }
    }

    fn propose(&mut self, from: NodeId, ballot: Ballot, value: Arc<View>, out: &mut Out<Message>) {
        let view = value.id;
        let Some(acceptor) = self.acceptor(from, view, ballot, out) else {
            return;
        };
        match acceptor.propose(ballot, value) {
            Ok(()) => self.when_durable(view, from, Message::Agreed { view, ballot }, out),
            Err(promised) => self.say(from, Message::Refused { view, promised }, out),
        }
    }

    /// A message about a register, of another controller or of this one.
    fn register(&mut self, from: NodeId, message: Message, out: &mut Out<Message>) {
        match message {
            Message::Prepare { view, ballot } => self.prepare(from, view, ballot, out),
            Message::Propose { ballot, value } => self.propose(from, ballot, value, out),
            Message::Promise {
                view,
                ballot,
                accepted,
            } => {
                let Some(attempt) = self.attempt.as_mut().filter(|it| it.view == view) else {
                    return;
                };
                let Some(proposer) = &mut attempt.proposer else {
                    return;
                };
                let asks = from == self.me && ballot == proposer.ballot() && !attempt.promised;
                attempt.promised |= asks;
                let accepted = accepted.filter(|(_, value)| value.id == view);
                let value = proposer.promise(from, ballot, accepted);
                if asks {
                    for node in self.others() {
                        out.send(node, Message::Prepare { view, ballot });
                    }
                }
                if let Some(value) = value {
                    self.send_proposal(value, out);
                }
            }
            Message::Agreed { view, ballot } => {
                let attempt = self.attempt.as_mut().filter(|it| it.view == view);
                let proposer = attempt.and_then(|attempt| attempt.proposer.as_mut());
                if let Some(value) = proposer.and_then(|it| it.agreed(from, ballot)) {
                    self.announce(value, out);
                }
            }
            Message::Refused { view, promised } => {
                let (now, place) = (self.now, self.place());
                let Some(attempt) = self.attempt.as_mut().filter(|it| it.view == view) else {
                    return;
                };
                let lost = |it: &Proposer<_>| it.ballot() < promised;
                if attempt.proposer.as_ref().is_some_and(lost) {
                    // Whoever refused works for another one; if that one fails, try again. Not all at
                    // the same moment.
                    attempt.proposer = None;
                    attempt.retry = now + self.config.timing.again_after * (1 + place);
                    self.round = self.round.max(promised.round);
                }
            }
            Message::Chosen { value } => {
                if value.id > self.newest().saturating_add(1) && from != self.me {
                    self.tell(&[from], out);
                }
                self.choose(value, out);
            }
            _ => {}
        }
    }

    /// This controller's place among the controllers.
    fn place(&self) -> u64 {
        let lower = self.config.controllers.iter();
        lower.filter(|&&node| node < self.me).count() as u64
    }

    fn send_proposal(&mut self, value: Arc<View>, out: &mut Out<Message>) {
        let Some(proposer) = self.attempt.as_ref().and_then(|it| it.proposer.as_ref()) else {
            return;
        };
        let ballot = proposer.ballot();
        for node in self.others() {
            let value = Arc::clone(&value);
            out.send(node, Message::Propose { ballot, value });
        }
        self.propose(self.me, ballot, value, out);
    }

    // The attempt.

    /// Begins to have the next view chosen: the one that there is is sealed.
    fn begin(&mut self, now: Nanos, out: &mut Out<Message>) {
        let Some(view) = self.newest().checked_add(1) else {
            self.complain(Shortage::Numbers, out);
            return;
        };
        let last = self.views.last().cloned();
        let ending = last.map(|last| Ending::new(last, self.config.level, None));
        self.attempts += 1;
        self.attempt = Some(Attempt {
            view,
            ending,
            proposer: None,
            promised: false,
            since: now,
            retry: now,
            sent: now,
            complained: false,
        });
        self.seal(out);
    }

    fn seal(&self, out: &mut Out<Message>) {
        let ending = self.attempt.as_ref().and_then(|it| it.ending.as_ref());
        if let Some(ending) = ending {
            for node in ending.missing() {
                let view = ending.view().id;
                out.send(node, Message::Seal { view });
            }
        }
    }

    /// A new ballot: promises it to itself first.
    fn ballot(&mut self, view: ViewId, out: &mut Out<Message>) {
        let promised = self
            .registers
            .get(&view)
            .map_or(0, |it| it.promised().round);
        let Some(round) = self.round.max(promised).checked_add(1) else {
            return;
        };
        self.round = round;
        let ballot = Ballot {
            round,
            node: self.me.0,
        };
        if let Some(attempt) = &mut self.attempt {
            let acceptors = self.config.controllers.len();
            attempt.proposer = Some(Proposer::new(ballot, acceptors, None));
            attempt.promised = false;
        }
        self.prepare(self.me, view, ballot, out);
    }

    fn complain(&mut self, shortage: Shortage, out: &mut Out<Message>) {
        if self.shortage != Some(shortage) {
            out.notice(format!("no view after {}: {shortage}", self.newest()));
            self.shortage = Some(shortage);
        }
    }

    /// The next view, as things are now.
    fn plan(&mut self, now: Nanos, out: &mut Out<Message>) -> Option<View> {
        let alive = self.watch.living(now);
        let current = self.views.last().map(|view| &**view);
        let roles = plan::roles(&self.config, current, &alive);
        let finals = match self.attempt.as_ref()?.ending.as_ref() {
            Some(ending) => ending.finals()?,
            None => Vec::new(),
        };
        let next =
            roles.and_then(|roles| plan::next(&self.config, &self.views, roles, &alive, finals));
        match next {
            Ok(view) => {
                self.shortage = None;
                Some(view)
            }
            Err(shortage) => {
                self.complain(shortage, out);
                None
            }
        }
    }

    /// Does what is to be done now.
    fn act(&mut self, now: Nanos, out: &mut Out<Message>) {
        if !self.watch.leads(now) {
            self.attempt = None;
            return;
        }
        if self.attempt.is_none() {
            let current = self.views.last().map(|view| &**view);
            if self.watch.reason(now, current).is_none()
                || self.lost.contains(&self.newest().saturating_add(1))
            {
                return;
            }
            // A view that nobody can follow is left as it is: it may still serve.
            let roles = plan::roles(&self.config, current, &self.watch.living(now));
            if let Err(shortage) = roles {
                self.complain(shortage, out);
                return;
            }
            self.begin(now, out);
        }
        let Some(attempt) = &self.attempt else {
            return;
        };
        match &attempt.proposer {
            None if now >= attempt.retry => self.ballot(attempt.view, out),
            Some(proposer) if proposer.is_free() => {
                if let Some(view) = self.plan(now, out) {
                    let attempt = self.attempt.as_mut();
                    let proposer = attempt.and_then(|it| it.proposer.as_mut());
                    if let Some(value) = proposer.and_then(|it| it.offer(Arc::new(view))) {
                        self.send_proposal(value, out);
                    }
                }
            }
            _ => {}
        }
        self.again(now, out);
    }

    /// Sends again what was not answered.
    fn again(&mut self, now: Nanos, out: &mut Out<Message>) {
        let others = self.others();
        let timing = self.config.timing;
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if now < attempt.sent.saturating_add(timing.again_after) {
            return;
        }
        attempt.sent = now;
        let view = attempt.view;
        if let Some(proposer) = &attempt.proposer {
            let ballot = proposer.ballot();
            for &node in &others {
                match (proposer.prepares(), proposer.proposes()) {
                    (Some(promised), _) if attempt.promised && !promised.contains(&node) => {
                        out.send(node, Message::Prepare { view, ballot });
                    }
                    (_, Some((value, agreed))) if !agreed.contains(&node) => {
                        let value = Arc::clone(value);
                        out.send(node, Message::Propose { ballot, value });
                    }
                    _ => {}
                }
            }
        }
        let missing = attempt.ending.as_ref().map(Ending::missing);
        let missing = missing.filter(|missing| !missing.is_empty());
        if let Some(missing) = missing
            && !attempt.complained
            && now >= attempt.since.saturating_add(timing.dead_after)
        {
            attempt.complained = true;
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            out.notice(format!(
                "view {} cannot end: too few sequencers of some log tell what they keep of it; \
                 waiting for {}",
                view - 1,
                missing.join(", ")
            ));
        }
        self.seal(out);
    }

    fn on_alive(
        &mut self,
        now: Nanos,
        from: NodeId,
        (member, view, complete, sealed): (Member, ViewId, ViewId, ViewId),
        out: &mut Out<Message>,
    ) {
        if member.node != from {
            return;
        }
        self.watch.alive(now, member, view, complete, sealed);
        if view < self.newest() {
            self.inform(from, view, out);
        }
    }

    fn named_gauges(&self) -> Vec<(String, u64)> {
        let gauges = self.gauges().into_iter();
        gauges
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

impl Node for Controller {
    type Message = Message;

    fn on_start(&mut self, now: Nanos, out: &mut Out<Message>) {
        self.now = now;
        self.watch = Watch::new(Rc::clone(&self.config), self.me, now);
        out.notices.append(&mut self.notices);
        out.timer(0, LOOK);
    }

    fn on_message(&mut self, now: Nanos, from: Peer, message: Message, out: &mut Out<Message>) {
        self.now = now;
        if let Message::Request { op, request } = message {
            let reply = match request {
                Request::Status => Reply::Status {
                    view: self.newest(),
                    gauges: self.named_gauges(),
                },
                _ => Reply::Failed(Failure::Unavailable),
            };
            out.send(from, Message::Reply { op, reply });
            return;
        }
        let Peer::Node(node) = from else {
            return;
        };
        match message {
            Message::Alive {
                member,
                view,
                complete,
                sealed,
            } => self.on_alive(now, node, (member, view, complete, sealed), out),
            Message::Sealed { view, member, logs } if member.node == node => {
                let ending = self.attempt.as_mut().and_then(|it| it.ending.as_mut());
                if let Some(ending) = ending.filter(|ending| ending.view().id == view) {
                    ending.answer(member, logs);
                }
            }
            // What follows is said by controllers alone.
            _ if !self.config.controllers.contains(&node) => {}
            Message::Views { views } => {
                for view in views {
                    self.choose(view, out);
                }
            }
            message => self.register(node, message, out),
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Out<Message>) {
        self.now = now;
        if timer != LOOK {
            return;
        }
        let timing = self.config.timing;
        if self
            .told
            .is_none_or(|at| now >= at.saturating_add(timing.alive_every))
        {
            self.told = Some(now);
            self.tell(&self.others(), out);
        }
        out.timer((timing.alive_every / 4).max(1), LOOK);
    }

    fn on_persisted(&mut self, now: Nanos, token: u64, out: &mut Out<Message>) {
        self.now = now;
        if let Some(Done { to, message }) = self.waits.remove(&token) {
            self.say(to, message, out);
        }
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Message>) {}

    fn on_turn_end(&mut self, now: Nanos, out: &mut Out<Message>) {
        self.now = now;
        self.act(now, out);
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let (living, configured) = self.watch.counts(self.now);
        vec![
            ("view", u64::from(self.newest())),
            ("leads", u64::from(self.watch.leads(self.now))),
            ("nodes_living", living),
            ("nodes_configured", configured),
            ("attempts", self.attempts),
            ("attempting", u64::from(self.attempt.is_some())),
            ("views_decided", self.decided),
            ("ballot_round", u64::from(self.round)),
        ]
    }
}
