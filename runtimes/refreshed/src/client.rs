//! The way from an execution to the server on its host: each request is an effect, hence a crash
//! point.

use crate::cluster::{Cluster, Port};
use crate::wire::{Failure, Part};
use triptych_api::{Error, Result};
use triptych_cached::Here;
use triptych_world::{MS, Nanos};

/// How often a request is asked again that was not served.
const TRIES: u32 = 8;
/// The longest pause before the first repetition; it doubles with each of the next ones.
const PAUSE: Nanos = 2 * MS;

/// A reply that may say that nothing was done.
pub trait Answer: Part {
    /// The failure, if it is one.
    fn failure(&self) -> Option<&Failure>;
}

/// Ports on the hosts of all servers.
pub struct Servers<Q, A>(pub Vec<Port<Q, A>>);

impl<Q: Part, A: Answer> Servers<Q, A> {
    /// Ports to all servers of a cluster, if there is one.
    pub fn of<P: Part, S>(cluster: Option<&Cluster<Q, A, P, S>>) -> Self {
        let ports = cluster.into_iter();
        let ports = ports.flat_map(|c| (0..c.servers()).map(|index| c.port(index)));
        Servers(ports.collect())
    }

    /// The port on the host where something happens.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if there are no servers.
    pub fn at(&self, here: &Here) -> Result<&Port<Q, A>> {
        let port = self.0.get(here.server % self.0.len().max(1));
        port.ok_or_else(|| Error::Interrupted("there is no cache server".to_owned()))
    }

    /// Asks the server on whose host the execution is, and again if it surely did nothing.
    ///
    /// # Errors
    /// [`Error::Aborted`] if the attempt is over, else [`Error::Interrupted`].
    pub async fn ask(&self, here: &Here, point: &'static str, request: Q) -> Result<A> {
        let (effects, world) = (&here.effects, &here.effects.site.world);
        let port = self.at(here)?;
        let mut tried = 0;
        loop {
            let ask = port.ask(request.clone());
            let failure = match world.effect(&effects.scope, point, ask).await {
                Ok(reply) => match reply.failure() {
                    Some(failure) => failure.clone(),
                    None => return Ok(reply),
                },
                Err(failure) => failure,
            };
            match failure {
                Failure::Aborted(why) => return Err(Error::Aborted(why)),
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

/// The error of an execution that got another reply than it asked for.
pub fn unexpected(reply: &impl std::fmt::Debug) -> Error {
    Error::Interrupted(format!("a server answered with {reply:?}"))
}

/// Why nothing works in a world of real time.
pub const NO_SERVERS: &str = "this runtime needs cache servers: in real time its functions run in \
                              processes of their own, and none are configured that they could share";
