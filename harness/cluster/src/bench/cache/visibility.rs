//! How long a write takes until others see it.
//!
//! A write is made at each server in turn, and clients that depend on nothing ask every server for
//! that key, again and again, until it shows the write. So a span has up to one round trip in it that
//! is the asking's. Those who depend on a write see it at once, wherever they ask; this is about
//! those who do not.

use super::client::write_number;
use super::keys::{value, written_by};
use super::{BenchError, Target};
use crate::bench::drive::histogram;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use std::cell::Cell;
use std::rc::Rc;
use triptych_mesh::{Clock, Key, Op, Own, Port, Reply, Request, WriteId};
use triptych_model::Value;
use triptych_world::{Nanos, SECOND, mix};

/// The table of the keys that are written here.
const TABLE: &str = "bench-visibility";
/// Keys, used in turn.
const KEYS: u64 = 16;
/// The place of the client that writes them.
const PLACE: u64 = 1 << 21;
/// What nobody sees for so long is missed.
const PATIENCE: Nanos = 5 * SECOND;

/// From a server to those at one distance from it along the ring.
#[derive(Debug)]
pub struct Way {
    /// How many hops along the ring the other server is away; 0 is the one that was asked to write.
    pub hops: usize,
    /// From when the write was asked for until it was seen.
    pub from_asked: Histogram<u64>,
    /// From when it was acknowledged; nothing if it was seen before.
    pub from_acknowledged: Histogram<u64>,
    /// Writes that were not seen in time.
    pub missed: u64,
}

/// What came out.
#[derive(Debug)]
pub struct Visibility {
    /// Writes.
    pub writes: u64,
    /// How long an acknowledgement took.
    pub acknowledged: Histogram<u64>,
    /// By distance.
    pub ways: Vec<Way>,
}

impl Target<'_> {
    /// Measures it for so long, on a ring that does nothing else, unless somebody else asks it to.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn visibility(&self, span: Nanos) -> Result<Visibility, BenchError> {
        let run = mix(self.world.unix_ms() as u64, self.world.now() | 1);
        let (writers, readers) = (self.ports().await?, self.ports().await?);
        let many = writers.len();
        let way = |hops| Way {
            hops,
            from_asked: histogram(),
            from_acknowledged: histogram(),
            missed: 0,
        };
        let mut out = Visibility {
            writes: 0,
            acknowledged: histogram(),
            ways: (0..many).map(way).collect(),
        };
        let until = self.world.now() + span;
        // The first round warms up: keys have to be fetched.
        let warm = many as u64 * KEYS;
        for round in 0.. {
            if round > warm && (self.world.now() >= until || self.cancel.is_cancelled()) {
                break;
            }
            let at = (round % many as u64) as usize;
            let key = Key::new(TABLE, &(round / many as u64 % KEYS).to_string());
            let number = write_number(PLACE, round);
            let asked = self.world.now();
            let acknowledged: Rc<Cell<Option<Nanos>>> = Rc::default();
            let writing = {
                let acknowledged = Rc::clone(&acknowledged);
                let request = Request::Write {
                    write: WriteId {
                        client: mix(run, PLACE),
                        number: round,
                    },
                    deps: Clock::default(),
                    own: Own::default(),
                    ops: vec![(key.clone(), Op::Put(value(number, 8)))],
                };
                let asked = writers[at].ask(request);
                async move {
                    let reply = asked.await;
                    acknowledged.set(Some(self.world.now()));
                    reply
                }
            };
            let reading = readers
                .iter()
                .map(|port| self.until_seen(port, &key, number));
            let (written, seen) = futures_util::join!(writing, join_all(reading));
            match written {
                Ok(Reply::Written { .. }) => {}
                other => return Err(BenchError(format!("nothing can be written: {other:?}"))),
            }
            if round < warm {
                continue;
            }
            let acknowledged = acknowledged.get().unwrap_or(asked);
            out.writes += 1;
            out.acknowledged
                .saturating_record(acknowledged.saturating_sub(asked).max(1));
            for (server, seen) in seen.into_iter().enumerate() {
                let way = &mut out.ways[(server + many - at) % many];
                match seen {
                    None => way.missed += 1,
                    Some(seen) => {
                        let since = |from| seen.saturating_sub(from).max(1);
                        way.from_asked.saturating_record(since(asked));
                        way.from_acknowledged.saturating_record(since(acknowledged));
                    }
                }
            }
        }
        Ok(out)
    }

    /// When a server first shows a write to somebody who depends on nothing.
    async fn until_seen(&self, port: &Rc<dyn Port>, key: &Key, number: u64) -> Option<Nanos> {
        let begun = self.world.now();
        while self.world.now() < begun + PATIENCE {
            let read = Request::Read {
                deps: Clock::default(),
                own: Vec::new(),
                keys: vec![key.clone()],
            };
            let seen = match port.ask(read).await {
                Ok(Reply::Read { seen, .. }) => seen.into_iter().next(),
                _ => None,
            };
            let shown = match seen.and_then(|seen| seen.value) {
                Some(Value::Bytes(bytes)) => written_by(&bytes, 8),
                _ => None,
            };
            if shown == Some(number) {
                return Some(self.world.now());
            }
        }
        None
    }
}
