//! Links between named places: latency, loss, duplication, order and partition.
//!
//! A message on a link belongs to the network, not to its sender: it arrives whatever becomes of
//! the task that sent it. What happens to the n-th message of a link is drawn from the seed, the
//! link's two names and n, so that traffic elsewhere shifts nothing.

use crate::latency::Dist;
use crate::{JoinHandle, Nanos, World, mix, mix_str};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::rc::{Rc, Weak};
use thiserror::Error;

/// What becomes of messages that are sent while the link is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenCut {
    /// They are lost, like datagrams.
    #[default]
    Lose,
    /// They wait and go on their way when the link is healed, like a connection that retransmits.
    Hold,
}

/// How a link behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// How long a message is on its way.
    pub latency: Dist,
    /// The chance that a message is lost.
    pub loss: f64,
    /// The chance that a message arrives twice.
    pub duplication: f64,
    /// Whether messages arrive in the order in which they were sent (a connection). Otherwise each
    /// arrives when its own latency says.
    pub in_order: bool,
    /// What a partition does to messages.
    pub when_cut: WhenCut,
}

impl LinkConfig {
    /// A link in order that loses and duplicates nothing.
    pub fn new(latency: Dist) -> Self {
        LinkConfig {
            latency,
            loss: 0.0,
            duplication: 0.0,
            in_order: true,
            when_cut: WhenCut::default(),
        }
    }
}

/// What has become of a link's messages:
/// `sent + duplicated = delivered + lost + held + on their way`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Messages that were given to the link.
    pub sent: u64,
    /// Second copies that the link made.
    pub duplicated: u64,
    /// Copies that have arrived.
    pub delivered: u64,
    /// Messages that never will.
    pub lost: u64,
    /// Messages that wait for the link to be healed.
    pub held: u64,
}

/// There is no link between two places.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no link from {from:?} to {to:?}")]
pub struct NoLink {
    /// Where the message was to come from.
    pub from: String,
    /// Where it was to go.
    pub to: String,
}

/// Delivers one copy of a message.
type Deliver = Rc<dyn Fn()>;

type Queue = RefCell<VecDeque<Deliver>>;
type Messages = RefCell<Vec<(u64, Deliver)>>;

/// Messages with their keys, owned by a task for the same reason as [`Line::queue`]; if the world
/// comes to a standstill, the task says why.
struct Held {
    messages: Weak<Messages>,
    owner: JoinHandle<()>,
}

impl Held {
    fn new(line: &Line) -> (Self, Rc<Messages>) {
        let messages = Rc::new(RefCell::new(Vec::new()));
        let (owned, world) = (Rc::clone(&messages), line.world.clone());
        let owner = line.world.spawn(&line.name, async move {
            world
                .waiting("its link to be healed", pending::<()>())
                .await;
            drop(owned);
        });
        let held = Held {
            messages: Rc::downgrade(&messages),
            owner,
        };
        (held, messages)
    }
}

struct Line {
    /// Names the messages that are held.
    name: String,
    world: World,
    config: RefCell<LinkConfig>,
    /// What the draws of this link are keyed by.
    key: u64,
    cut: Cell<bool>,
    counts: Cell<LinkCounts>,
    /// Messages that wait for the link to be healed.
    held: RefCell<Option<Held>>,
    /// Messages of an ordered link, in the order of their arrival. The arrivals own it, because
    /// messages may own the link: what owns each other in a circle would never be freed.
    queue: RefCell<Weak<Queue>>,
    last_arrival: Cell<Nanos>,
}

/// One direction between two places. Cheap to clone.
#[derive(Clone)]
pub struct Link(Rc<Line>);

impl Link {
    fn new(world: &World, from: &str, to: &str, config: LinkConfig) -> Self {
        Link(Rc::new(Line {
            name: format!("messages from {from} to {to}"),
            world: world.clone(),
            config: RefCell::new(config),
            key: mix_str(mix_str(mix_str(world.seed(), "link"), from), to),
            cut: Cell::default(),
            counts: Cell::default(),
            held: RefCell::default(),
            queue: RefCell::default(),
            last_arrival: Cell::default(),
        }))
    }

    /// Sends a message; `deliver` is called with it when it arrives, once for each copy.
    pub fn send<T: Clone + 'static>(&self, message: T, deliver: impl Fn(T) + 'static) {
        self.send_keyed(self.counts().sent, message, deliver);
    }

    /// Sends a message whose luck is keyed by the operation that it belongs to
    /// ([`crate::Scope::next_key`]) instead of by how many messages went before.
    pub fn send_keyed<T: Clone + 'static>(
        &self,
        key: u64,
        message: T,
        deliver: impl Fn(T) + 'static,
    ) {
        self.count(|counts| counts.sent += 1);
        let deliver = Rc::new(move || deliver(message.clone()));
        if !self.is_cut() {
            return self.transmit(key, deliver);
        }
        let when_cut = self.0.config.borrow().when_cut;
        match when_cut {
            WhenCut::Lose => self.count(|counts| counts.lost += 1),
            WhenCut::Hold => {
                self.count(|counts| counts.held += 1);
                self.hold(key, deliver);
            }
        }
    }

    fn hold(&self, key: u64, deliver: Deliver) {
        let mut held = self.0.held.borrow_mut();
        let known = held.as_ref().and_then(|held| held.messages.upgrade());
        let messages = known.unwrap_or_else(|| {
            let (new, messages) = Held::new(&self.0);
            *held = Some(new);
            messages
        });
        messages.borrow_mut().push((key, deliver));
    }

    fn transmit(&self, key: u64, deliver: Deliver) {
        let mut random = self.0.world.keyed(mix(self.0.key, key));
        let config = self.0.config.borrow();
        // All draws are made for every message: a rate that is changed changes no other luck.
        let (lost, twice) = (
            random.unit() < config.loss,
            random.unit() < config.duplication,
        );
        let first = config.latency.draw(&mut random, 1.0);
        let second = config.latency.draw(&mut random, 1.0);
        let in_order = config.in_order;
        drop(config);
        if lost {
            return self.count(|counts| counts.lost += 1);
        }
        if twice {
            self.count(|counts| counts.duplicated += 1);
            self.arrive(first.max(second), in_order, Rc::clone(&deliver));
            self.arrive(first.min(second), in_order, deliver);
        } else {
            self.arrive(first, in_order, deliver);
        }
    }

    fn arrive(&self, latency: Nanos, in_order: bool, deliver: Deliver) {
        let (line, now) = (Rc::clone(&self.0), self.0.world.now());
        if !in_order {
            return self.0.world.after(latency, move || {
                Link(line).count(|counts| counts.delivered += 1);
                deliver();
            });
        }
        let at = self.0.last_arrival.get().max(now.saturating_add(latency));
        self.0.last_arrival.set(at);
        let known = self.0.queue.borrow().upgrade();
        let queue = known.unwrap_or_default();
        *self.0.queue.borrow_mut() = Rc::downgrade(&queue);
        queue.borrow_mut().push_back(deliver);
        // Each arrival delivers the first message in line, which in real time may not be the one
        // whose timer it is.
        self.0.world.after(at - now, move || {
            let next = queue.borrow_mut().pop_front();
            Link(line).count(|counts| counts.delivered += 1);
            next.expect("there is a message for each arrival")();
        });
    }

    /// Cuts this direction. What is on its way still arrives.
    pub fn cut(&self) {
        self.0.cut.set(true);
    }

    /// Heals this direction, and sends what was held, in order.
    pub fn heal(&self) {
        self.0.cut.set(false);
        let Some(held) = self.0.held.take() else {
            return;
        };
        self.count(|counts| counts.held = 0);
        let messages = held.messages.upgrade().map(|messages| messages.take());
        held.owner.abort();
        for (key, deliver) in messages.into_iter().flatten() {
            self.transmit(key, deliver);
        }
    }

    /// Whether this direction is cut.
    pub fn is_cut(&self) -> bool {
        self.0.cut.get()
    }

    /// Changes how the link behaves from the next message on.
    pub fn configure(&self, config: LinkConfig) {
        *self.0.config.borrow_mut() = config;
    }

    /// What has become of its messages.
    pub fn counts(&self) -> LinkCounts {
        self.0.counts.get()
    }

    fn count(&self, change: impl FnOnce(&mut LinkCounts)) {
        let mut counts = self.0.counts.get();
        change(&mut counts);
        self.0.counts.set(counts);
    }
}

/// The links between the places of a world. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    world: World,
    links: Rc<RefCell<BTreeMap<String, BTreeMap<String, Link>>>>,
}

impl Network {
    /// A network without links.
    pub fn new(world: &World) -> Self {
        Network {
            world: world.clone(),
            links: Rc::default(),
        }
    }

    /// Lays a link in one direction; an existing one only changes its behaviour.
    pub fn link(&self, from: &str, to: &str, config: LinkConfig) -> Link {
        if let Ok(link) = self.get(from, to) {
            link.configure(config);
            return link;
        }
        let link = Link::new(&self.world, from, to, config);
        let mut links = self.links.borrow_mut();
        let from = links.entry(from.to_owned()).or_default();
        from.insert(to.to_owned(), link.clone());
        link
    }

    /// Lays links in both directions.
    pub fn link_both(&self, a: &str, b: &str, config: &LinkConfig) {
        self.link(a, b, config.clone());
        self.link(b, a, config.clone());
    }

    /// The link between two places: faster to send on than a pair of names.
    ///
    /// # Errors
    /// [`NoLink`].
    pub fn get(&self, from: &str, to: &str) -> Result<Link, NoLink> {
        let links = self.links.borrow();
        let link = links.get(from).and_then(|from| from.get(to)).cloned();
        link.ok_or_else(|| NoLink {
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }

    /// Sends a message between two places ([`Link::send`]).
    ///
    /// # Errors
    /// [`NoLink`].
    pub fn send<T: Clone + 'static>(
        &self,
        from: &str,
        to: &str,
        message: T,
        deliver: impl Fn(T) + 'static,
    ) -> Result<(), NoLink> {
        self.get(from, to)?.send(message, deliver);
        Ok(())
    }

    /// Cuts all links from any of some places to any of others, in this direction only.
    pub fn cut(&self, from: &[&str], to: &[&str]) {
        self.between(from, to).iter().for_each(Link::cut);
    }

    /// Cuts all links between two groups of places, in both directions.
    pub fn partition(&self, left: &[&str], right: &[&str]) {
        self.cut(left, right);
        self.cut(right, left);
    }

    /// Heals all links from any of some places to any of others, in this direction only.
    pub fn heal(&self, from: &[&str], to: &[&str]) {
        self.between(from, to).iter().for_each(Link::heal);
    }

    /// Heals every link.
    pub fn heal_all(&self) {
        self.all().iter().for_each(|(_, _, link)| link.heal());
    }

    fn between(&self, from: &[&str], to: &[&str]) -> Vec<Link> {
        let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (a, b)));
        pairs.filter_map(|(a, b)| self.get(a, b).ok()).collect()
    }

    /// Every link with the places that it connects, in order of their names.
    pub fn all(&self) -> Vec<(String, String, Link)> {
        let links = self.links.borrow();
        let from = links.iter();
        from.flat_map(|(a, to)| {
            to.iter()
                .map(|(b, link)| (a.clone(), b.clone(), link.clone()))
        })
        .collect()
    }
}
