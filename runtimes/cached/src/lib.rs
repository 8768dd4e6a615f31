//! What all cached runtimes share.
//!
//! A cached runtime keeps the app's data in cache servers beside the functions, and a causal context
//! travels with every call: what was seen and done so far. Executions are spread over the servers'
//! hosts, and wherever one runs, it must not see less than what its context says.
//!
//! * [`system`]: the trait that one implements. Start here.
//! * `branches`: the contexts of parallel branches, copied where they begin and joined where they end.
//! * `run`: what an app's operations become.
//! * `serve`: what surrounds a function: the attempts of a root, the part of a callee in one.
//! * `machine`: workflows that the platform runs.
//! * `policy`: on which server's host a function runs.
//! * `deploy`: all of it as a deployment.
//!
//! None of this makes effects happen exactly once: an execution that is repeated is a new one.

mod branches;
mod deploy;
mod envelope;
mod machine;
mod meter;
mod points;
mod policy;
mod run;
mod serve;
pub mod system;

pub use deploy::{deploy, deploy_with};
pub use points::Points;
pub use policy::Policy;
pub use system::{Announced, Attempt, Caches, Edit, Here, System, Told, copies};

pub(crate) use deploy::Shared;

/// A seeded defect of the function side, to show that checkers see it. Campaigns cannot ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// What a callee has seen and done is not joined into its caller's context.
    ReplyLost,
    /// A callee begins as if nothing had been before it.
    CallWithoutContext,
    /// What parallel branches have is dropped where they meet.
    BranchLost,
    /// The client is told to keep nothing.
    SessionDropped,
    /// A root begins as if its session were new.
    SessionIgnored,
    /// An event begins as if nothing had been before it.
    EventWithoutContext,
    /// Events are handed over at once, although the attempt may not commit.
    SendBeforeCommit,
    /// A refused request commits what it wrote.
    CommitOnRefusal,
    /// The writes of an aborted transaction stay in its attempt.
    AbortKeepsWrites,
}
