//! Where a runtime is put, and how the suite is told of one.
//!
//! A runtime gets a [`Site`] (the world, a store, a platform and an app) and makes a deployment of
//! it. A [`RuntimeEntry`] is all that the registry, the harness and the conformance kit need of a
//! runtime: its name, what it promises, and that function. Nothing here depends on any runtime or
//! app, so a crate outside the repository can use it alone.
//!
//! Beside these stands what most runtimes would write alike, to be taken or left: [`Effects`] is how
//! an execution reaches store and platform, with a crash point each; [`tables`] keeps an app's
//! documents; [`Envelope`] is a call on its way; [`handlers`], [`timers`], [`run`] and [`answer`] are
//! the dull half of a deployment. None of it gives a guarantee: that is what a runtime is for.

mod effects;
mod envelope;
mod serve;
pub mod tables;

pub use effects::Effects;
pub use envelope::Envelope;
pub use serve::{answer, handlers, interrupted, run, timers};
pub use tables::{KEY, VALUE};

use std::rc::Rc;
use triptych_api::{App, Declares, Retries};
use triptych_faas::{Deployment, Platform};
use triptych_store::Store;
use triptych_world::{Nanos, SECOND, World};

/// What a runtime stands on, and the app that it runs.
pub struct Site {
    /// Time, randomness, tasks and faults.
    pub world: World,
    /// The database.
    pub store: Rc<dyn Store>,
    /// Where functions run.
    pub platform: Rc<dyn Platform>,
    /// The application.
    pub app: Rc<App>,
    /// How often an aborted transaction is tried again.
    pub retries: Retries,
    /// The profile's timing.
    pub timing: Timing,
    /// How many servers a runtime starts that brings servers of its own, such as caches beside the
    /// functions: at least 1. Others do not look at it.
    pub servers: u16,
}

/// The servers of a runtime that brings its own, unless somebody says otherwise.
pub const SERVERS: u16 = 3;
/// The most servers that may be asked for.
pub const MOST_SERVERS: u16 = 64;

/// What a profile states about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A function's timeout.
    pub timeout: Nanos,
    /// How long an event may wait in the asynchronous queue.
    pub queue_age: Nanos,
    /// How often the platform itself retries a failed asynchronous execution.
    pub async_retries: u32,
    /// How often intent collectors run.
    pub collector_period: Nanos,
    /// How often garbage collectors run; never, if there is no period.
    pub gc_period: Option<Nanos>,
    /// The assumed bound on how long after the end of its instance an execution or a message of it
    /// may still be alive: at least timeout, queue age, the longest delay of a message, and clock
    /// skew together.
    pub t: Nanos,
}

impl Default for Timing {
    /// The timing of Beldi's deployment, with `T` as its specification should have it: five seconds
    /// of skew beside what an execution can take and how late an injected fault makes a message.
    fn default() -> Self {
        Timing {
            timeout: 60 * SECOND,
            queue_age: 60 * SECOND,
            async_retries: 0,
            collector_period: 60 * SECOND,
            gc_period: Some(60 * SECOND),
            t: (60 + 60 + 5) * SECOND + triptych_world::fault::LATEST,
        }
    }
}

/// A runtime that campaigns may name.
#[derive(Clone, Copy)]
pub struct RuntimeEntry {
    /// Its name in campaign files and tables.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What it promises.
    pub declares: Declares,
    /// Whether it runs workflows of the platform ([`triptych_api::Workflow`]).
    pub workflows: bool,
    /// Puts an app into it.
    pub deploy: fn(Site) -> Rc<dyn Deployment>,
}
