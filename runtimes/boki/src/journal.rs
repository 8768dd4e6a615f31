//! How an execution speaks to the log: appends that are owned by the log, and are tried again until
//! there is an end; reads of whole streams.
//!
//! **A read may be old**, but not older than what the handle has seen. Whoever goes by *not* finding
//! something has to have seen enough: by an append of its own, by what it was told, or by
//! [`Journal::freshen`].
//!
//! **Whatever is appended may be there twice**, because nobody may know what became of it, or because
//! two executions of one instance append the same. So no record here means anything by being there
//! once more: the first one of its kind counts. Where that is not enough, the append has a condition.

use crate::record::{Entry, nothing};
use std::future::Future;
use triptych_api::{Error, Result};
use triptych_log::{Book, Condition, Failure, Found, SeqNum, Tag};
use triptych_site::Effects;
use triptych_world::Nanos;

/// How many records are read at once.
const PAGE: u16 = 128;

/// The log, as one execution sees it.
pub(crate) struct Journal {
    pub(crate) book: Book,
    pub(crate) effects: Effects,
}

/// A record at its place.
pub(crate) type Placed = (SeqNum, Entry);

impl Journal {
    /// What a failure means: nothing is known to be done, so try again, or there is no sense in it.
    async fn again(&self, tried: &mut u32, failure: Failure) -> Result<()> {
        match failure {
            Failure::Unavailable | Failure::Discarded | Failure::Unknown => {
                self.effects.pause(*tried).await;
                *tried += 1;
                Ok(())
            }
            Failure::Lost(_) => Err(Error::Interrupted(failure.to_string())),
            Failure::Bad(_) => Err(Error::Bug(failure.to_string())),
        }
    }

    /// Appends a record, however often it takes until the log says where it is.
    pub(crate) async fn append(
        &self,
        point: &'static str,
        tags: &[Tag],
        entry: &Entry,
    ) -> Result<SeqNum> {
        let data = entry.encode()?;
        let world = &self.effects.site.world;
        let mut tried = 0;
        loop {
            let append = self.book.append(tags, &data);
            match world.effect(&self.effects.scope, point, append).await {
                Ok(seq) => return Ok(seq),
                Err(failure) => self.again(&mut tried, failure).await?,
            }
        }
    }

    /// Appends a record if nothing has come to a stream since. Where it is; nothing if it was refused,
    /// or nobody knows: then look at the stream, and append it again if it is still missing.
    pub(crate) async fn append_if(
        &self,
        point: &'static str,
        tags: &[Tag],
        entry: &Entry,
        condition: Condition,
    ) -> Result<Option<SeqNum>> {
        let data = entry.encode()?;
        let append = self.book.append_if(tags, &data, condition);
        let world = &self.effects.site.world;
        match world.effect(&self.effects.scope, point, append).await {
            Ok(taken) => Ok(taken.ok()),
            Err(failure) => {
                self.again(&mut 0, failure).await?;
                Ok(None)
            }
        }
    }

    /// Makes what lies before the bounds unreadable.
    pub(crate) async fn trim(
        &self,
        point: &'static str,
        streams: Vec<(Tag, SeqNum)>,
    ) -> Result<()> {
        let world = &self.effects.site.world;
        let mut tried = 0;
        loop {
            let trim = self.book.trim(streams.clone());
            match world.effect(&self.effects.scope, point, trim).await {
                Ok(()) => return Ok(()),
                Err(failure) => self.again(&mut tried, failure).await?,
            }
        }
    }

    /// Takes a place in the order of the log, so that whatever was acknowledged to anybody before this
    /// was called is seen from now on. Leaves no record: what it asks for is to trim nothing.
    pub(crate) async fn freshen(&self, point: &'static str) -> Result<()> {
        self.trim(point, vec![(nothing(), SeqNum::ZERO)]).await
    }

    async fn read<T, F: Future<Output = std::result::Result<T, Failure>>>(
        &self,
        read: impl Fn() -> F,
    ) -> Result<T> {
        let mut tried = 0;
        loop {
            match read().await {
                Ok(found) => return Ok(found),
                Err(failure) => self.again(&mut tried, failure).await?,
            }
        }
    }

    /// All records of a stream from a place on.
    pub(crate) async fn all(&self, tag: Tag, from: SeqNum) -> Result<Vec<Placed>> {
        let mut all = Vec::new();
        let mut from = from;
        loop {
            let page = self.read(|| self.book.read_some(tag, from, PAGE)).await?;
            for found in &page {
                from = found.seq.next();
                all.push(placed(found)?);
            }
            if page.len() < usize::from(PAGE) {
                return Ok(all);
            }
        }
    }

    /// Whether a stream has anything to read.
    pub(crate) async fn is_there(&self, tag: Tag) -> Result<bool> {
        let first = self.read(|| self.book.read_next(tag, SeqNum::ZERO));
        Ok(first.await?.is_some())
    }

    /// The last record of a stream at or before a place.
    pub(crate) async fn last(&self, tag: Tag, upto: SeqNum) -> Result<Option<Placed>> {
        let last = self.read(|| self.book.read_previous(tag, upto)).await?;
        last.as_ref().map(placed).transpose()
    }

    /// Waits until a stream has a record at or after a place, but not longer than this.
    pub(crate) async fn wait(&self, tag: Tag, from: SeqNum, span: Nanos) -> Result<()> {
        let wait = self.read(|| self.book.read_next_wait(tag, from, span));
        wait.await.map(drop)
    }
}

fn placed(found: &Found) -> Result<Placed> {
    Ok((found.seq, Entry::decode(&found.record.data)?))
}
