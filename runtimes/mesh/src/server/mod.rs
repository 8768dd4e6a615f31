//! A cache server as a node: [`crate::Core`] with links, clients, a backing store, and neighbours
//! that may fail.
//!
//! * [`traffic`]: versions along the ring, and what the servers tell each other.
//! * [`clients`]: what clients ask.
//! * [`desk`]: those that have to wait; [`memory`]: those that were asked before.
//! * [`members`]: epochs: who joins, who is gone, what is sent round again.
//! * [`behind`]: the backing store: misses, keepers, eviction.
//!
//! A server that is not on the ring, or has no data yet, or has not heard of the others for too long,
//! answers [`crate::Failure::Unavailable`], which surely had no effect.

mod behind;
mod bug;
mod clients;
mod desk;
mod disk;
mod members;
mod memory;
mod traffic;

pub use bug::{Bugs, NodeBug};

use crate::clock::{Clock, Slot};
use crate::config::Config;
use crate::core::Core;
use crate::link::{Incoming, Outgoing};
use crate::message::{Answer, Message, Report};
use crate::ring::{Member, Ring};
use crate::version::Version;
use behind::Behind;
use desk::Desk;
use memory::Memory;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use triptych_nodes::{Nanos, Node, NodeId, Out, Peer, Stored};

/// Heartbeats, and all that is looked after now and then.
const TICK: u64 = 0;
/// Pieces on the link to be sent again.
const AGAIN: u64 = 1;
/// Rows to be written.
const STORE: u64 = 2;
/// Stable versions to be applied.
const DISSEMINATE: u64 = 3;
/// The token under which the number of a life becomes durable. Others are numbers of versions.
const LIFE: u64 = u64::MAX;

/// What a server wants done.
type Outbox = Out<Message>;

/// What has been told of all servers. Only grows.
#[derive(Default)]
struct Told {
    /// Received by every server.
    stable: Clock,
    /// In the backing store.
    stored: Clock,
    /// What servers said of themselves, the newest.
    reports: BTreeMap<Slot, Report>,
}

/// See the module documentation.
pub struct Server {
    config: Rc<Config>,
    bugs: Bugs,
    member: Member,
    /// Whether the number of this life is durable.
    born: bool,
    ring: Arc<Ring>,
    /// Its place in clocks, while it is on the ring.
    slot: Option<Slot>,
    /// Whether `core` has all data: it is whole, or has its copy in this epoch.
    filled: bool,
    core: Core,
    /// All versions that it has received and that are not known to be stable, of each origin in
    /// order: what is sent round again when the ring changes.
    log: BTreeMap<Slot, VecDeque<Arc<Version>>>,
    told: Told,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Whether something came on the link in this turn.
    ack_due: bool,
    /// Whether a timer is set for the link.
    again_set: bool,
    /// What its successor knows to be stable, if nothing that was sent to it is lost.
    said: Clock,
    /// What its successor has received, and so on, as far as the level needs it.
    held: Vec<Clock>,
    /// How many of its own versions may go round: those that are durable at level synced.
    free: u64,
    members: members::Watch,
    desk: Desk,
    memory: Memory,
    behind: Behind,
    disk: disk::Disk,
}

impl Server {
    /// A server, from what it finds on its disk.
    pub fn recover(config: Rc<Config>, node: NodeId, stored: &dyn Stored, bugs: Bugs) -> Self {
        let disk = disk::Disk::recover(stored);
        let member = Member {
            node,
            life: disk.life + 1,
        };
        Server {
            member,
            born: false,
            ring: Arc::default(),
            slot: None,
            filled: false,
            core: Core::new(Slot::default(), !config.backed, bugs.core),
            log: BTreeMap::new(),
            told: Told::default(),
            outgoing: Outgoing::new(),
            incoming: Incoming::default(),
            ack_due: false,
            again_set: false,
            said: Clock::default(),
            held: Vec::new(),
            free: 0,
            members: members::Watch::default(),
            desk: Desk::default(),
            memory: Memory::default(),
            behind: Behind::new(member.life),
            disk,
            config,
            bugs,
        }
    }

    fn has_bug(&self, bug: NodeBug) -> bool {
        self.bugs.node == Some(bug)
    }

    /// What it has, for tests.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The ring as it knows it.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Whether it is on the ring and has all data.
    fn is_whole(&self) -> bool {
        let seat = self.slot.and_then(|slot| self.ring.seat(slot));
        self.filled && seat.is_some_and(|seat| seat.is_whole())
    }

    fn tick(&mut self, now: Nanos, out: &mut Outbox) {
        out.timer(self.config.timing.alive_every, TICK);
        if !self.born {
            return;
        }
        self.fold(now);
        self.tell_neighbours(out);
        self.watch(now, out);
        self.ask_again(now, out);
        self.give_up(now, out);
        self.trim_disk(out);
    }
}

impl Node for Server {
    type Message = Message;

    fn on_start(&mut self, _now: Nanos, out: &mut Outbox) {
        self.begin_life(out);
        let timing = &self.config.timing;
        out.timer(timing.alive_every, TICK);
        if self.config.backed {
            out.timer(timing.store_every, STORE);
        }
        if timing.disseminate_every > 0 {
            out.timer(timing.disseminate_every, DISSEMINATE);
        }
    }

    fn on_message(&mut self, now: Nanos, from: Peer, message: Message, out: &mut Outbox) {
        if !self.born {
            if let Message::Register = message {
                self.behind.register(from);
            }
            return;
        }
        match message {
            Message::Request { op, age, request } => {
                self.on_request(now, from, op, age, request, out);
            }
            Message::Frame {
                epoch,
                first,
                items,
                stable,
                stored,
            } => {
                if self.is_of_epoch(now, from, epoch, out) {
                    self.told.stable.join(&stable);
                    self.told.stored.join(&stored);
                    self.on_frame(now, from, first, items, out);
                }
            }
            Message::Ack {
                epoch,
                next,
                held,
                stable,
            } => {
                if self.is_of_epoch(now, from, epoch, out) {
                    self.told.stable.join(&stable);
                    self.said.join(&stable);
                    self.on_ack(now, from, next, held);
                }
            }
            Message::Alive {
                epoch,
                stable,
                stored,
                reports,
            } => {
                if self.is_of_epoch(now, from, epoch, out) {
                    self.told.stable.join(&stable);
                    self.told.stored.join(&stored);
                    self.on_reports(reports);
                }
            }
            Message::Behind { epoch } => self.on_behind(from, epoch, out),
            Message::Ring(ring) => self.on_ring(now, from, ring, out),
            Message::Register => {
                self.behind.register(from);
                self.seek_ring(now, out);
            }
            Message::Answer { op, answer } => self.on_answer(now, op, answer, out),
            // Not for servers.
            Message::Reply { .. } | Message::Ask { .. } => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Outbox) {
        match timer {
            TICK => self.tick(now, out),
            AGAIN => {
                self.again_set = false;
                self.send_again(now, out);
            }
            STORE => {
                out.timer(self.config.timing.store_every, STORE);
                self.keep(now, out);
            }
            DISSEMINATE => {
                out.timer(self.config.timing.disseminate_every, DISSEMINATE);
                self.apply_stable();
            }
            _ => {}
        }
    }

    fn on_persisted(&mut self, now: Nanos, token: u64, out: &mut Outbox) {
        match token {
            LIFE => self.on_born(now, out),
            number => self.on_durable(number, out),
        }
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Outbox) {}

    fn on_turn_end(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.born || self.slot.is_none() {
            return;
        }
        if self.config.timing.disseminate_every == 0 {
            self.apply_stable();
        }
        self.trim_log();
        self.memory.note(now, &self.core);
        self.write_again(out);
        self.wake(now, out);
        self.keep_promises(out);
        self.send(now, out);
        self.behind_turn(now, out);
    }

    fn on_gone(&mut self, client: u64) {
        self.behind.gone(Peer::Client(client));
        self.desk.gone(Peer::Client(client));
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let sum = |clock: &Clock| clock.iter().map(|(_, count)| count).sum();
        vec![
            ("epoch", self.ring.epoch),
            ("ring", self.ring.len() as u64),
            ("slot", self.slot.map_or(0, |slot| u64::from(slot.0) + 1)),
            ("whole", u64::from(self.is_whole())),
            ("received", sum(self.core.received())),
            ("applied", sum(self.core.applied())),
            ("stable", sum(self.core.stable())),
            ("stored", sum(&self.told.stored)),
            (
                "unstable",
                self.log.values().map(VecDeque::len).sum::<usize>() as u64,
            ),
            ("link", self.outgoing.len() as u64),
            ("keys", self.core.keys() as u64),
            ("dirty", self.behind.dirty() as u64),
            ("waiting", self.desk.len() as u64),
            ("found", self.disk.found.len() as u64),
            ("frozen", self.core.frozen().len() as u64),
        ]
    }
}

/// What becomes of an answer, by what it answers; see [`behind`] and [`members`].
impl Server {
    fn on_answer(&mut self, now: Nanos, op: u64, answer: Answer, out: &mut Outbox) {
        let Some((at, question)) = self.behind.answered(op) else {
            return;
        };
        match answer {
            Answer::Rows(rows) => self.on_rows(now, question, rows, out),
            Answer::Stored(clocks) => self.on_stored(now, question, clocks, out),
            Answer::Ring(ring) => self.on_row(now, at, ring, out),
            Answer::Surveyed(clock) => self.on_surveyed(now, clock, out),
            Answer::Failed(words) => {
                out.notice(format!("the backing store: {words}"));
                self.on_failed(now, question);
            }
        }
    }
}
