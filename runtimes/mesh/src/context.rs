//! What a client carries with it: what it depends on, and its own writes.
//!
//! A client is a workflow and what comes after it in the same session. The context travels with every
//! call; a branch gets a copy, and where branches meet theirs are joined. It never shrinks what the
//! client depends on.

use crate::clock::Clock;
use crate::entry::Seen;
use crate::version::{Key, Version};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// A client's causal context.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Everything that it counts was read by the client, or is counted by what was. All of it has
    /// been received by every server.
    pub deps: Clock,
    /// The client's own writes that it does not know to be stable: perhaps not every server has
    /// received them, so they travel along. By origin and number.
    pub own: Vec<Arc<Version>>,
}

/// What a writer says of its own writes that may not be everywhere, instead of sending them along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// The join of their clocks: the next write has to cover it. It may count versions that were lost
    /// and that the writer knows nothing of, which a head had counted for somebody else's sake.
    pub clock: Clock,
    /// The highest number of them at each origin. If one of those was lost, the writer is told so.
    pub made: Clock,
}

/// A context that is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not a context: {0}")]
pub struct Malformed(pub String);

impl Own {
    /// What is to be said of some own writes.
    pub fn of(versions: &[Arc<Version>]) -> Self {
        let mut own = Own::default();
        for version in versions {
            own.clock.join(&version.clock);
            own.made.raise(version.origin, version.number());
        }
        own
    }
}

impl Context {
    /// Something was read.
    pub fn saw(&mut self, seen: &Seen) {
        self.deps.join(&seen.clock);
    }

    /// Something was written.
    pub fn wrote(&mut self, version: Arc<Version>) {
        let place = |version: &Version| (version.origin, version.number());
        let at = self
            .own
            .binary_search_by_key(&place(&version), |own| place(own));
        if let Err(at) = at {
            self.own.insert(at, version);
        }
    }

    /// All that this clock counts has been received by every server: own writes among it need not
    /// travel any more. Their clocks may count more than it does, which was lost with a server: the
    /// client does not depend on that.
    pub fn is_stable(&mut self, stable: &Clock) {
        let deps = &mut self.deps;
        self.own.retain(|own| {
            let everywhere = own.is_counted_by(stable);
            if everywhere {
                deps.join(&own.clock.meet(stable));
            }
            !everywhere
        });
    }

    /// What another branch of the same client has seen and done.
    pub fn join(&mut self, branch: &Context) {
        self.deps.join(&branch.deps);
        for own in &branch.own {
            self.wrote(Arc::clone(own));
        }
    }

    /// What the client's next write has to cover besides [`Context::deps`].
    pub fn own_clock(&self) -> Own {
        Own::of(&self.own)
    }

    /// The own writes that write one of these keys: all that a read of them needs.
    pub fn own_of<'a>(&self, keys: impl Iterator<Item = &'a Key> + Clone) -> Vec<Arc<Version>> {
        let concerns = |own: &&Arc<Version>| {
            let mut keys = keys.clone();
            keys.any(|key| own.ops.iter().any(|(written, _)| written == key))
        };
        self.own.iter().filter(concerns).cloned().collect()
    }

    /// The servers that it names.
    pub fn servers(&self) -> usize {
        let own = self.own.iter().map(|own| own.clock.width());
        own.chain([self.deps.width()]).max().unwrap_or(0)
    }

    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// The context that some bytes are.
    ///
    /// # Errors
    /// [`Malformed`], with the reason.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let context: Context =
            postcard::from_bytes(bytes).map_err(|error| Malformed(error.to_string()))?;
        let place = |own: &Arc<Version>| (own.origin, own.number());
        if context.own.iter().any(|own| own.number() == 0) {
            return Err(Malformed("an own write has no number".to_owned()));
        }
        match context.own.is_sorted_by(|a, b| place(a) < place(b)) {
            true => Ok(context),
            false => Err(Malformed("own writes are out of order".to_owned())),
        }
    }
}
