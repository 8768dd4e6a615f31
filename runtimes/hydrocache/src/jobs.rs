//! What takes more than one message, and the questions to other servers that it waits for.

use crate::choose::Reading;
use crate::line::Line;
use crate::message::Peer;
use crate::round::{Extending, Round};
use crate::server::{Send, Server};
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId, Peer as From};
use triptych_refreshed::{Failure, Wire, cluster};
use triptych_world::{MS, SECOND};

/// Something that takes more than one message.
#[derive(Debug)]
pub(crate) enum Job {
    /// An optimistic read.
    Read {
        client: From,
        op: u64,
        reading: Reading,
    },
    /// A snapshot that this server makes.
    Round(Round),
    /// A snapshot that another one makes, and a client here waits for.
    Extending(Extending),
}

/// A question to another server that is not answered.
#[derive(Debug)]
pub(crate) struct Asked {
    job: u64,
    to: NodeId,
    question: Peer,
    said: Nanos,
}

/// After so long a question to another server is asked again.
const AGAIN: Nanos = 200 * MS;
/// After so long a job that waits for others has failed.
const GIVE_UP: Nanos = 10 * SECOND;

impl Server {
    /// Something takes more than one message: keeps it, and gives its number.
    pub(crate) fn keep(&mut self, now: Nanos, job: Job) -> u64 {
        let number = self.number();
        self.jobs.insert(number, (now, job));
        number
    }

    /// Asks another server something on behalf of a job.
    pub(crate) fn ask(
        &mut self,
        now: Nanos,
        job: u64,
        to: u16,
        question: impl FnOnce(u64) -> Peer,
        out: &mut Send,
    ) {
        let token = self.number();
        let (to, question) = (cluster::server(to), question(token));
        out.send(to, Wire::Peer(question.clone()));
        let asked = Asked {
            job,
            to,
            question,
            said: now,
        };
        self.asked.insert(token, asked);
    }

    /// What a job has waited for is there, or will never be.
    pub(crate) fn wake(&mut self, now: Nanos, job: u64, end: Result<(), Failure>, out: &mut Send) {
        let Some((born, job)) = self.jobs.remove(&job) else {
            return;
        };
        match (job, end) {
            (
                Job::Read {
                    client,
                    op,
                    reading,
                },
                Ok(()),
            ) => self.go_on(now, client, op, reading, out),
            (Job::Round(round), Ok(())) => self.proceed(now, born, round, out),
            (job, Err(failure)) => self.give_up(job, failure, out),
            (Job::Extending(_), Ok(())) => {}
        }
    }

    fn give_up(&mut self, job: Job, failure: Failure, out: &mut Send) {
        match job {
            Job::Read { client, op, .. } => self.fail(client, op, failure, out),
            Job::Extending(extending) => {
                self.fail(extending.client, extending.op, failure, out);
            }
            Job::Round(round) => self.round_failed(round, failure, out),
        }
    }

    /// Puts a job back that goes on waiting.
    pub(crate) fn keep_on(&mut self, number: u64, born: Nanos, job: Job) {
        self.jobs.insert(number, (born, job));
    }

    /// Another server has answered: perhaps for the second time, or to a question of an earlier life.
    pub(crate) fn lines(
        &mut self,
        now: Nanos,
        from: NodeId,
        token: u64,
        lines: Result<Vec<Option<Arc<Line>>>, Failure>,
        out: &mut Send,
    ) {
        let known = self.asked.get(&token).filter(|asked| asked.to == from);
        let Some(number) = known.map(|asked| asked.job) else {
            return;
        };
        self.asked.remove(&token);
        let Some((born, job)) = self.jobs.remove(&number) else {
            return;
        };
        match (job, lines) {
            (
                Job::Read {
                    client,
                    op,
                    mut reading,
                },
                Ok(mut lines),
            ) => {
                let at = from.0.saturating_sub(1);
                self.was_held(now, &mut reading, at, lines.pop().flatten());
                self.go_on(now, client, op, reading, out);
            }
            (Job::Round(round), Ok(lines)) => {
                self.looked(now, (number, born), round, lines, out);
            }
            (Job::Extending(extending), Ok(lines)) => {
                self.extended(now, extending, lines, out);
            }
            (job, Err(failure)) => self.give_up(job, failure, out),
        }
    }

    /// Asks again what was not answered, and gives up what waits too long.
    pub(crate) fn again(&mut self, now: Nanos, out: &mut Send) {
        let late = self.jobs.iter();
        let late = late.filter(|(_, (born, _))| now >= born.saturating_add(GIVE_UP));
        let late: Vec<u64> = late.map(|(&number, _)| number).collect();
        for number in late {
            if let Some((_, job)) = self.jobs.remove(&number) {
                self.give_up(job, Failure::Unavailable, out);
            }
        }
        let jobs = &self.jobs;
        self.asked.retain(|_, asked| jobs.contains_key(&asked.job));
        for asked in self.asked.values_mut() {
            if now >= asked.said.saturating_add(AGAIN) {
                asked.said = now;
                out.send(asked.to, Wire::Peer(asked.question.clone()));
            }
        }
    }
}
