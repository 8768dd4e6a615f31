//! The way from an execution to the cache servers: each request is an effect, hence a crash point.

use std::rc::Rc;
use triptych_api::{Error, Result};
use triptych_cached::Here;
use triptych_mesh::{Failure, Port, Reply, Request};
use triptych_world::{MS, Nanos};

/// How often a request is asked again that was not served, or of which nobody knows.
const TRIES: u32 = 8;
/// The longest pause before the first repetition; it doubles with each of the next ones.
const PAUSE: Nanos = 2 * MS;

/// The names of effects.
pub(crate) const READ: &str = "causalmesh.read";
pub(crate) const WRITE: &str = "causalmesh.write";
pub(crate) const UPDATE: &str = "causalmesh.update";
pub(crate) const SNAPSHOT: &str = "causalmesh.snapshot";
pub(crate) const COMMIT: &str = "causalmesh.commit";

/// A port on the host of each server.
pub(crate) struct Servers(Vec<Rc<dyn Port>>);

/// The error of an execution that got another reply than it asked for.
pub(crate) fn unexpected(reply: &Reply) -> Error {
    Error::Interrupted(format!("a server answered with {reply:?}"))
}

impl Servers {
    /// At least one.
    pub(crate) fn new(ports: Vec<Rc<dyn Port>>) -> Self {
        Servers(ports)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Asks the server on whose host the execution is. Whatever is asked may be asked again: a write
    /// counts once.
    ///
    /// # Errors
    /// [`Error::Aborted`] if the snapshot cannot be served any more, else [`Error::Interrupted`].
    pub(crate) async fn ask(
        &self,
        here: &Here,
        point: &'static str,
        request: Request,
    ) -> Result<Reply> {
        let (effects, world) = (&here.effects, &here.effects.site.world);
        let Some(port) = self.0.get(here.server % self.0.len().max(1)) else {
            return Err(Error::Interrupted("there is no cache server".to_owned()));
        };
        let mut tried = 0;
        // When it was asked first without an answer.
        let mut doubtful = None;
        loop {
            let asked = world.now();
            let ask = match doubtful {
                None => port.ask(request.clone()),
                Some(first) => port.ask_again(first, request.clone()),
            };
            let failure = match world.effect(&effects.scope, point, ask).await {
                Ok(Reply::Failed(failure)) | Err(failure) => failure,
                Ok(reply) => return Ok(reply),
            };
            match failure {
                Failure::SnapshotTooOld => return Err(Error::Aborted(failure.to_string())),
                Failure::Unknown if tried < TRIES => {
                    doubtful.get_or_insert(asked);
                }
                Failure::Unavailable if tried < TRIES => {}
                failure => return Err(Error::Interrupted(failure.to_string())),
            }
            let most = PAUSE << tried;
            let pause = world.keyed(effects.scope.next_key()).below(most);
            world.sleep(pause).await;
            tried += 1;
        }
    }
}
