//! An attempt of a controller to have the next view chosen.

use super::ending::Ending;
use super::register::Proposer;
use crate::{View, ViewId};
use std::sync::Arc;
use triptych_nodes::Nanos;

/// What it has got so far. The view before is sealed, and promises of the other controllers are
/// collected, at the same time.
#[derive(Debug)]
pub(super) struct Attempt {
    /// The number of the view that is wanted.
    pub(super) view: ViewId,
    /// How the view before ends; none if there is none.
    pub(super) ending: Option<Ending>,
    /// The proposer; none while it waits after it was refused.
    pub(super) proposer: Option<Proposer<Arc<View>>>,
    /// Whether this controller's own promise is durable, so that the others may be asked.
    pub(super) promised: bool,
    /// When it began.
    pub(super) since: Nanos,
    /// When it may try again after it was refused.
    pub(super) retry: Nanos,
    /// When something was sent last.
    pub(super) sent: Nanos,
    /// Whether an operator was told that no quorum of sequencers answers.
    pub(super) complained: bool,
}
