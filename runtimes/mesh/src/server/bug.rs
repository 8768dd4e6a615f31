//! Seeded defects, to show that tests and judges see them.

use crate::core;

/// A seeded defect of the node around [`crate::Core`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeBug {
    /// A write is acknowledged before it is as durable as the level says.
    AcksBeforeDurable,
    /// A server that comes back uses the slot of its earlier life.
    ReusesSlot,
    /// After a change of the ring nothing is sent round again.
    NoRecirculation,
    /// The heir sends its own versions round again, but not those of the dead.
    ForgetsInheritance,
    /// A server that was taken off the ring goes on serving.
    RemovedServes,
    /// What was not acknowledged on a link is not sent again.
    LinkForgetsResend,
    /// The receiving end of a link takes pieces as they come.
    LinkTakesAnyOrder,
    /// A keeper writes rows whatever they have become meanwhile.
    StoresWithoutCondition,
    /// A new server serves before it has a copy of what the others have.
    ServesWithoutCopy,
    /// A key is forgotten although the backing store does not have it.
    EvictsUnstored,
    /// What comes back from a disk after a crash is not written again.
    ForgetsDisk,
}

impl NodeBug {
    /// All of them.
    pub const ALL: [NodeBug; 11] = [
        NodeBug::AcksBeforeDurable,
        NodeBug::ReusesSlot,
        NodeBug::NoRecirculation,
        NodeBug::ForgetsInheritance,
        NodeBug::RemovedServes,
        NodeBug::LinkForgetsResend,
        NodeBug::LinkTakesAnyOrder,
        NodeBug::StoresWithoutCondition,
        NodeBug::ServesWithoutCopy,
        NodeBug::EvictsUnstored,
        NodeBug::ForgetsDisk,
    ];
}

/// Which defects a cluster has; none by default. No command can ask for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Of the protocol.
    pub core: Option<core::Bug>,
    /// Of the node around it.
    pub node: Option<NodeBug>,
}
