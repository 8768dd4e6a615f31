//! CausalMesh as a runtime (PVLDB'24, arXiv 2508.15647): functions beside causal cache servers on a
//! ring, moving between them.
//!
//! The servers and their protocol are `triptych-mesh`; what surrounds functions on any cache is
//! `triptych-cached`. Here stands what each operation is to the servers.
//!
//! * `plain`: [`deploy`], causal consistency; and as `compat`, with last writer wins.
//! * `tcc`: transactional causal consistency.
//! * `source`: the servers of an installation, and what both of these ask of them alike.
//! * `servers`: the way from an execution to the servers.
//! * [`model`]: a ring in memory, to test with.
//!
//! Concurrent changes of a document merge: additions add up, a list has the elements of all, of two
//! replacements the one that is later in the order of clocks stays. Nothing makes effects happen
//! exactly once, and a condition is decided on what the client sees, so two of them may both hold.

pub mod model;
mod plain;
mod servers;
mod source;
mod tcc;

use model::{Conduct, ModelRing};
use plain::Plain;
use servers::Servers;
use source::{NoServers, Ring, Source};
use std::rc::Rc;
use tcc::Tcc;
use triptych_api::{Declares, Isolation, Order};
use triptych_cached::{Policy, deploy_with};
use triptych_faas::Deployment;
use triptych_mesh::sim::SimMesh;
use triptych_site::Site;

/// What CausalMesh promises. A write that is acknowledged is in the memory of two servers, and some time
/// later in the store: it survives the failure of one server at a time.
pub const DECLARES: Declares = Declares {
    exactly_once: false,
    transaction: Isolation::None,
    order: Order::Causal,
    durable: true,
};

/// What CausalMesh-TCC promises.
pub const DECLARES_TCC: Declares = Declares {
    transaction: Isolation::Tcc,
    ..DECLARES
};

/// What CausalMesh promises where the last writer wins: of two concurrent changes of a list, one is
/// lost that was acknowledged, and whoever has seen it may not see it again.
pub const DECLARES_COMPAT: Declares = Declares {
    order: Order::None,
    durable: false,
    ..DECLARES
};

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Causal consistency; changes merge.
    Causal,
    /// Causal consistency; the last writer wins.
    LastWriterWins,
    /// Transactional causal consistency.
    Tcc,
}

/// A seeded defect, to show that checkers see it. Campaigns cannot ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// One of what surrounds functions.
    Cached(triptych_cached::Bug),
    /// The client does not carry its own writes.
    OwnForgotten,
    /// The client does not remember what it has read.
    ReadsForgotten,
    /// A transaction takes a new snapshot at each read.
    SnapshotRenewed,
    /// What a transaction has written is sent one by one.
    WrittenOneByOne,
}

/// Puts the site's app on CausalMesh, with a simulated ring of three servers beside it, links as in the
/// profile `ec2-lan`. An execution is on the host of one of the servers, which the policy chooses. A
/// site of real time is refused at [`Deployment::prepare`], because there are no servers that its
/// processes could share.
pub fn deploy(site: Site, variant: Variant, policy: Policy) -> Rc<dyn Deployment> {
    match site.world.is_virtual() {
        true => {
            let mesh = start(&site, variant);
            deploy_on_mesh(site, variant, policy, mesh)
        }
        false => {
            let servers = Servers::new(vec![Rc::new(NoServers)]);
            let source = Source::None;
            on_servers(site, variant, policy, Ring { servers, source }, None)
        }
    }
}

/// Starts the servers of an installation in a world of virtual time: a write is acknowledged once one
/// further server has it, or, if there is none, once it is on the disk.
pub fn start(site: &Site, variant: Variant) -> SimMesh {
    source::start(site, variant == Variant::LastWriterWins)
}

/// Puts the site's app on servers that were started for it, which somebody else may look at and hurt.
pub fn deploy_on_mesh(
    site: Site,
    variant: Variant,
    policy: Policy,
    mesh: SimMesh,
) -> Rc<dyn Deployment> {
    let servers = Servers::new(source::ports(&mesh));
    let source = Source::Mesh(mesh);
    on_servers(site, variant, policy, Ring { servers, source }, None)
}

/// Puts the site's app on a model of the ring in memory ([`ModelRing`]), which promises no more than a
/// ring must.
pub fn deploy_on_model(site: Site, variant: Variant, policy: Policy) -> Rc<dyn Deployment> {
    let conduct = Conduct {
        servers: usize::from(site.servers.max(1)),
        ..Conduct::default()
    };
    deploy_on_model_with(site, variant, policy, conduct, None)
}

/// The same with a ring that behaves like this, and with a seeded defect, if there is one. Whether
/// updates merge is the variant's to say.
pub fn deploy_on_model_with(
    site: Site,
    variant: Variant,
    policy: Policy,
    conduct: Conduct,
    bug: Option<Bug>,
) -> Rc<dyn Deployment> {
    let conduct = Conduct {
        compat: variant == Variant::LastWriterWins,
        ..conduct
    };
    let ring = ModelRing::new(&site.world, Rc::clone(&site.store), conduct);
    let servers = Servers::new(ring.ports());
    let source = match site.world.is_virtual() {
        true => Source::Model(ring),
        false => Source::None,
    };
    on_servers(site, variant, policy, Ring { servers, source }, bug)
}

fn on_servers(
    site: Site,
    variant: Variant,
    policy: Policy,
    ring: Ring,
    bug: Option<Bug>,
) -> Rc<dyn Deployment> {
    let site = Rc::new(site);
    let shared = match bug {
        Some(Bug::Cached(bug)) => Some(bug),
        _ => None,
    };
    match variant {
        Variant::Tcc => {
            let system = Tcc { ring, bug };
            deploy_with(site, system, policy, shared)
        }
        Variant::Causal | Variant::LastWriterWins => {
            let system = Plain { ring, bug };
            deploy_with(site, system, policy, shared)
        }
    }
}
