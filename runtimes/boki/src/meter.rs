//! What an installation asks of the log, counted on the way.

use futures_util::future::LocalBoxFuture;
use std::cell::Cell;
use std::rc::Rc;
use triptych_log::{Failure, Port, Progress, Reply, Request};
use triptych_world::mix;

/// The log, as the executions of an installation reach it: a port at each host that they may be on.
pub(crate) struct Log {
    ports: Vec<Rc<dyn Port>>,
    asked: Rc<Asked>,
}

/// A port that counts what goes through it.
struct Meter {
    port: Rc<dyn Port>,
    asked: Rc<Asked>,
}

/// What was asked so far, and the newest that anybody here has seen.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) appends: Cell<u64>,
    pub(crate) reads: Cell<u64>,
    pub(crate) trims: Cell<u64>,
    pub(crate) newest: Cell<Progress>,
}

impl Log {
    /// At least one port.
    pub(crate) fn new(ports: Vec<Rc<dyn Port>>) -> Self {
        let asked = Rc::default();
        Log { ports, asked }
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The port of the host that an execution is on, by the execution's path.
    pub(crate) fn at(&self, path: u64) -> Rc<dyn Port> {
        let host = mix(path, 0) % self.ports.len() as u64;
        Rc::new(Meter {
            port: Rc::clone(&self.ports[host as usize]),
            asked: Rc::clone(&self.asked),
        })
    }

    /// A port without a meter, for whoever looks from outside.
    pub(crate) fn unmetered(&self) -> Rc<dyn Port> {
        Rc::clone(&self.ports[0])
    }
}

impl Port for Meter {
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let asked = Rc::clone(&self.asked);
        let count = |cell: &Cell<u64>| cell.set(cell.get() + 1);
        match &request {
            Request::Append(_) => count(&asked.appends),
            Request::Read(_) => count(&asked.reads),
            Request::Trim { .. } => count(&asked.trims),
            Request::Annotate { .. } | Request::Status => {}
        }
        let ask = self.port.ask(request);
        Box::pin(async move {
            let reply = ask.await;
            if let Ok(
                Reply::Appended { progress, .. }
                | Reply::Refused { progress, .. }
                | Reply::Records { progress, .. }
                | Reply::Trimmed { progress },
            ) = &reply
            {
                asked.newest.set(asked.newest.get().max(*progress));
            }
            reply
        })
    }
}
