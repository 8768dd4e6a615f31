//! What timers do, for each function: execute again what has not finished, and trim what is over.
//!
//! Both read the function's stream of starts and ends, from where it was last trimmed, and both go by
//! what is missing there: the end of an instance, or one start more. So each pass first makes sure that
//! it sees the log as it is now ([`crate::journal::Journal::freshen`]), and hands that along.
//!
//! *Restart.* A start without an end that is older than the function's timeout is executed again, with
//! the envelope that it was recorded with. If somebody still executes it, no harm.
//!
//! *Sweep.* It rests on one assumption about time: `T` after an instance has finished, no execution
//! and no message of it is alive any more. Then its streams are trimmed: its steps, the outcomes of its
//! changes, the transactions that it has ended, and of each lock that those had all but the last
//! record, which holds the lock's state. A record that stands in several streams is freed when the
//! last of them lets go of it. The function's own stream is trimmed last, up to the oldest instance
//! that is not over, and never between an end and a start that came late after it: that would look
//! like an instance that has not finished. A pass that stops half-way is repeated from there.
//! Everything is found anew in each pass, and to trim twice is to trim once.
//!
//! *How long `T` must be.* An end says when it was written by the clock of who did, before it was
//! appended. The append may be as late as any message, and an execution that was sent before it came
//! may send messages that are late again. So nothing at all is left if `T` is at least the time in the
//! queue, a function's timeout, the skew of clocks and *twice* the longest delay of a message. The
//! default of [`triptych_site::Timing`] counts that delay once. Two delays in a row that together are
//! longer have this price: a copy of a record lands in a stream that was trimmed, and stays there.

use crate::Bug;
use crate::journal::Placed;
use crate::record::{Entry, Start, What, intents, locks, outcome, steps, transaction};
use crate::run::Run;
use crate::wrapper::FINISH;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::to_value;
use triptych_api::{Name, Result, Value};
use triptych_log::{SeqNum, Tag};
use triptych_world::MS;

/// Instances that are collected at the same time.
const WIDTH: usize = 16;

/// An instance, as its function's stream tells.
pub(crate) struct Life {
    /// The first record of it.
    pub(crate) from: SeqNum,
    pub(crate) start: Option<Start>,
    /// When it finished, in milliseconds since 1970.
    pub(crate) done: Option<i64>,
    /// The last record that says that it started, and the last that says that it has finished.
    last: (Option<SeqNum>, Option<SeqNum>),
}

/// The instances in a function's stream.
pub(crate) fn lives(function: &Name, stream: Vec<Placed>) -> BTreeMap<Name, Life> {
    let mut lives: BTreeMap<Name, Life> = BTreeMap::new();
    for (seq, entry) in stream {
        let (start, done) = match entry.what {
            What::Start(start) if start.function == *function => (Some(start), None),
            What::Finish {
                function: of, at, ..
            } if of == *function => (None, Some(at)),
            _ => continue,
        };
        let life = lives.entry(entry.instance).or_insert(Life {
            from: seq,
            start: None,
            done: None,
            last: (None, None),
        });
        match start {
            Some(_) => life.last.0 = Some(seq),
            None => life.last.1 = Some(seq),
        }
        // The first ones count.
        life.start = life.start.take().or(start);
        life.done = life.done.or(done);
    }
    lives
}

/// Up to where a function's stream may be trimmed that ends here.
fn bound<'l>(
    lives: impl Iterator<Item = &'l Life> + Clone,
    is_over: impl Fn(&Life) -> bool,
    end: SeqNum,
) -> SeqNum {
    let alive = lives.clone().filter(|life| !is_over(life));
    let mut bound = alive.map(|life| life.from).min().unwrap_or(end);
    loop {
        // A start that comes after all ends: it must not be left without them.
        let late = lives.clone().filter_map(|life| match life.last {
            (Some(start), Some(finish)) => (finish < bound && bound <= start).then_some(finish),
            _ => None,
        });
        match late.min() {
            Some(finish) => bound = finish,
            None => return bound,
        }
    }
}

/// Executes again what has not finished in time. Returns how many.
pub(crate) async fn restart(run: &Run) -> Result<Value> {
    run.log.freshen("boki.restart.fresh").await?;
    let timeout = (run.effects.site.timing.timeout / MS) as i64;
    let before = run.effects.site.world.unix_ms() - timeout;
    let stream = run.log.all(intents(&run.function), SeqNum::ZERO).await?;
    let mut restarted = 0;
    for (instance, life) in lives(&run.function, stream) {
        let Some(start) = life.start.filter(|_| life.done.is_none()) else {
            continue;
        };
        if start.since >= before {
            continue;
        }
        let request = start.request;
        let mut envelope = start.envelope.clone();
        envelope.registered = true;
        envelope.progress = run.progress();
        if run.has(Bug::RestartUnderNewId) {
            give_up(run, &instance, &start).await?;
            envelope.instance = Name::from(run.fresh_id());
            envelope.registered = false;
        }
        let body = to_value(&envelope)?;
        let event = run
            .effects
            .resume("boki.restart", request, &run.function, body);
        // A lost event is found again later.
        drop(event.await);
        restarted += 1;
    }
    Ok(Value::Int(restarted))
}

/// Part of the seeded defect [`Bug::RestartUnderNewId`]: the old instance is left as if done.
async fn give_up(run: &Run, instance: &Name, start: &Start) -> Result<()> {
    let what = What::Finish {
        function: run.function.clone(),
        result: Value::Null,
        at: start.since,
        caller: None,
    };
    let (instance, step) = (instance.clone(), Name::from(FINISH));
    let tags = [steps(&instance), intents(&run.function)];
    let entry = Entry {
        instance,
        step,
        what,
    };
    run.log.append("boki.finish", &tags, &entry).await.map(drop)
}

/// Trims what is over. Returns how many instances it has forgotten.
pub(crate) async fn sweep(run: &Run) -> Result<Value> {
    let t = match run.has(Bug::CollectorIgnoresT) {
        true => 0,
        false => (run.effects.site.timing.t / MS) as i64,
    };
    let before = run.effects.site.world.unix_ms() - t;
    // After the clock was read: whatever came in time is there.
    run.log.freshen("boki.sweep.fresh").await?;
    let stream = run.log.all(intents(&run.function), SeqNum::ZERO).await?;
    let Some(end) = stream.last().map(|(seq, _)| seq.next()) else {
        return Ok(Value::Int(0));
    };
    let lives = lives(&run.function, stream);
    let is_over = |life: &Life| life.done.is_some_and(|at| at < before);
    let over: Vec<&Name> = lives
        .iter()
        .filter(|(_, life)| is_over(life))
        .map(|(instance, _)| instance)
        .collect();
    let mut forgotten = 0;
    for some in over.chunks(WIDTH) {
        for done in join_all(some.iter().map(|instance| forget(run, instance))).await {
            forgotten += i64::from(done?);
        }
    }
    let bound = bound(lives.values(), is_over, end);
    if !over.is_empty() {
        let intents = vec![(intents(&run.function), bound)];
        run.log.trim("boki.sweep.intents", intents).await?;
    }
    Ok(Value::Int(forgotten))
}

/// Trims the streams of an instance. False if that was done before.
async fn forget(run: &Run, instance: &Name) -> Result<bool> {
    let own = run.log.all(steps(instance), SeqNum::ZERO).await?;
    let Some(end) = own.last().map(|(seq, _)| seq.next()) else {
        return Ok(false);
    };
    let mut streams: BTreeMap<Tag, SeqNum> = BTreeMap::from([(steps(instance), end)]);
    let mut locked = BTreeSet::new();
    for (_, entry) in own {
        match entry.what {
            _ if entry.instance != *instance => {}
            What::Changed(_) => {
                streams.insert(outcome(instance, &entry.step), end);
            }
            What::Decision { tx, .. } => {
                let stream = transaction(&tx);
                let records = run.log.all(stream, SeqNum::ZERO).await?;
                if let Some((last, _)) = records.last() {
                    streams.insert(stream, last.next());
                }
                for (_, entry) in records {
                    if let What::Lock { table, key, .. } = entry.what {
                        locked.insert((table, key));
                    }
                }
            }
            _ => {}
        }
    }
    for (table, key) in locked {
        let lock = run.lock_state((&table, &key)).await?;
        streams.insert(locks(&table, &key), lock.seq);
    }
    let streams = streams.into_iter().collect();
    run.log.trim("boki.sweep.instance", streams).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(starts: &[u64], finishes: &[u64]) -> Life {
        let all = starts.iter().chain(finishes).copied().min();
        let last = |places: &[u64]| places.last().map(|&place| SeqNum(place));
        Life {
            from: SeqNum(all.expect("a record")),
            start: None,
            done: (!finishes.is_empty()).then_some(0),
            last: (last(starts), last(finishes)),
        }
    }

    fn of(lives: &[Life]) -> u64 {
        bound(lives.iter(), |life| life.done.is_some(), SeqNum(100)).0
    }

    #[test]
    fn a_stream_is_trimmed_up_to_the_oldest_that_is_not_over() {
        assert_eq!(of(&[life(&[1], &[2]), life(&[3], &[4])]), 100);
        assert_eq!(
            of(&[life(&[1], &[2]), life(&[3], &[]), life(&[4], &[5])]),
            3
        );
        // An end without its start is over.
        assert_eq!(of(&[life(&[1], &[5]), life(&[3], &[])]), 3);
    }

    #[test]
    fn an_end_stays_as_long_as_a_start_that_came_after_it() {
        assert_eq!(of(&[life(&[1, 7], &[2]), life(&[3], &[])]), 2);
        // One may need another one.
        let chain = [life(&[4, 9], &[5]), life(&[2, 6], &[3]), life(&[8], &[])];
        assert_eq!(of(&chain), 3);
        // Once the other one is over they go together.
        assert_eq!(of(&[life(&[1, 7], &[2]), life(&[3], &[9])]), 100);
    }
}
