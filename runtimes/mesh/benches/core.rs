//! How many cache operations a ring of three servers does in one thread: the servers alone, with
//! queues for links and neither timers nor encoding. 100,000 keys by Zipf's law (exponent 1), values
//! of 8 bytes; a workflow is two reads at one server, two at another, and a write at a third.
//!
//! `cargo bench -p triptych-mesh --bench core`

use criterion::{Criterion, Throughput};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use triptych_api::Value;
use triptych_mesh::{Arrived, Clock, Context, Core, Entry, Key, Op, Slot, Version, WriteId};

const SERVERS: usize = 3;
const KEYS: usize = 100_000;
const WORKFLOWS: usize = 20_000;
/// Operations of a workflow.
const EACH: usize = 5;
/// Servers tell each other what may be folded each so many workflows.
const FOLD: usize = 256;

struct Ring {
    cores: Vec<Core>,
    links: Vec<VecDeque<(Arc<Version>, u32)>>,
    keys: Vec<Key>,
    draws: u64,
    /// For each key, how many draws of 2^32 are of it or of one before it.
    upto: Vec<u64>,
    requests: u64,
    pasts: Vec<Clock>,
}

impl Ring {
    fn new() -> Self {
        let keys: Vec<Key> = (0..KEYS)
            .map(|at| Key::new("micro", &at.to_string()))
            .collect();
        let total: f64 = (1..=KEYS).map(|rank| 1.0 / rank as f64).sum();
        let mut sum = 0.0;
        let upto = (1..=KEYS).map(|rank| {
            sum += 1.0 / rank as f64 / total;
            (sum * 4_294_967_296.0) as u64
        });
        let upto = upto.collect();
        let core = |at| {
            let mut core = Core::new(Slot(at as u16), true, None);
            for key in &keys {
                core.load(key, Entry::of(Value::Int(7)), &Clock::default());
            }
            core
        };
        Ring {
            cores: (0..SERVERS).map(core).collect(),
            links: vec![VecDeque::new(); SERVERS],
            keys,
            draws: 1,
            upto,
            requests: 0,
            pasts: Vec::new(),
        }
    }

    fn draw(&mut self) -> u64 {
        self.draws = self
            .draws
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.draws >> 32
    }

    fn key(&mut self) -> usize {
        let draw = self.draw();
        self.upto
            .partition_point(|&upto| upto <= draw)
            .min(KEYS - 1)
    }

    fn workflow(&mut self) {
        let mut context = Context::default();
        for _ in 0..2 {
            let at = self.draw() as usize % SERVERS;
            for _ in 0..2 {
                let key = self.key();
                let key = std::slice::from_ref(&self.keys[key]);
                let seen = self.cores[at].read(SERVERS, &context.deps, &[], key);
                for seen in &seen.expect("what was shown is everywhere") {
                    context.saw(black_box(seen));
                }
            }
        }
        let at = self.draw() as usize % SERVERS;
        let (key, value) = (self.key(), self.draw());
        self.requests += 1;
        let write = WriteId {
            client: self.requests,
            number: 1,
        };
        let ops = vec![(self.keys[key].clone(), Op::Put(Value::Int(value as i64)))];
        let written = self.cores[at].write(SERVERS, &context.deps, &Clock::default(), write, ops);
        let version = written.expect("it is accepted");
        self.links[at].push_back((version, 1));
    }

    /// What is on the links moves on by one server, several at a time as in a frame.
    fn move_on(&mut self) {
        for link in 0..SERVERS {
            let at = (link + 1) % SERVERS;
            let stable = self.cores[link].stable().clone();
            for _ in 0..self.links[link].len() {
                if let Some((version, hop)) = self.links[link].pop_front() {
                    match self.cores[at].arrive(&version, hop, SERVERS as u32) {
                        Arrived::Forward(hop) => self.links[at].push_back((version, hop)),
                        Arrived::Stable => {}
                        odd => panic!("{odd:?}"),
                    }
                }
            }
            self.cores[at].is_stable(&stable);
        }
    }

    /// What all servers had behind them the last time may be folded once their versions of then are
    /// applied.
    fn fold(&mut self) {
        let pasts: Vec<Clock> = self.cores.iter().map(Core::past).collect();
        let pasts = std::mem::replace(&mut self.pasts, pasts);
        for core in &mut self.cores {
            let applied = core.applied();
            let mut own = (0_u16..).map(Slot).zip(&pasts);
            if own.all(|(slot, past)| past.get(slot) <= applied.get(slot)) {
                let horizon = pasts.iter().cloned().reduce(|a, b| a.meet(&b));
                core.fold_upto(&horizon.unwrap_or_default());
            }
        }
    }

    fn run(&mut self, workflows: usize) {
        for number in 0..workflows {
            self.workflow();
            if number % 4 == 3 {
                self.move_on();
            }
            if number % FOLD == FOLD - 1 {
                self.fold();
            }
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements((WORKFLOWS * EACH) as u64));
    group.sample_size(10);
    let mut ring = Ring::new();
    ring.run(WORKFLOWS);
    group.bench_function("operations", |bench| bench.iter(|| ring.run(WORKFLOWS)));
    group.finish();
    let kept: usize = ring
        .keys
        .iter()
        .filter_map(|key| ring.cores[0].entry(key))
        .map(Entry::kept)
        .sum();
    println!(
        "{} versions wait, {kept} writes are kept by themselves",
        ring.cores.iter().map(Core::pending).sum::<usize>(),
    );
    criterion.final_summary();
}
