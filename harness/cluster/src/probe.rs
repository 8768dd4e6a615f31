//! Asks nodes how they are.

use crate::connect;
use crate::file::{ClusterFile, NodeAt};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::task::LocalSet;
use triptych_log::{Message, Reply, Request, Role};
use triptych_nodes::NodeId;
use triptych_nodes::tcp::{Client, Event, Limits};

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The view in which it serves; 0 if none.
    pub view: u16,
    /// What it has to tell an operator.
    pub gauges: Vec<(String, u64)>,
}

impl Status {
    /// A gauge by its name.
    pub fn gauge(&self, name: &str) -> Option<u64> {
        let found = self.gauges.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    /// Whether its view has all nodes of a file, as far as it tells, and it is ready to serve reads.
    pub fn whole(&self, file: &ClusterFile) -> bool {
        let roles = [
            ("view_sequencers", Role::Sequencer),
            ("view_storages", Role::Storage),
            ("view_engines", Role::Engine),
        ];
        let all = roles.iter().all(|(gauge, role)| {
            let have = self.gauge(gauge);
            have.is_none_or(|have| have as usize == file.of(*role).len())
        });
        self.view > 0 && all && self.gauge("indexes") == self.gauge("indexes_ready")
    }
}

/// Asks all engines at once. What is wrong is said in words.
pub fn ask_all(file: &ClusterFile, patience: Duration) -> Vec<(NodeAt, Result<Status, String>)> {
    let engines = file.of(Role::Engine);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answers = match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, ask(file, &engines, patience)),
        Err(error) => {
            let all = engines.iter().map(|node| (node.id, Err(error.to_string())));
            all.collect()
        }
    };
    let of = |node: &NodeAt| answers.get(&node.id).cloned();
    let silent = || Err("does not answer".to_owned());
    let all = engines.into_iter();
    all.map(|node| (node, of(&node).unwrap_or_else(silent)))
        .collect()
}

async fn ask(
    file: &ClusterFile,
    engines: &[NodeAt],
    patience: Duration,
) -> BTreeMap<NodeId, Result<Status, String>> {
    let client = Client::<Message>::new(&file.name, connect::engines(file), Limits::default());
    for engine in engines {
        let request = Request::Status;
        client.send(engine.id, &Message::Request { op: 0, request });
    }
    let mut answers = BTreeMap::new();
    let hear = async {
        while answers.len() < engines.len() {
            let (node, answer) = match client.next().await {
                Event::Message(node, Message::Reply { reply, .. }) => match reply {
                    Reply::Status { view, gauges } => (node, Ok(Status { view, gauges })),
                    other => (node, Err(format!("answers with {other:?}"))),
                },
                Event::Message(..) => continue,
                Event::Lost(node, why) => (node, Err(format!("cannot be reached: {why}"))),
            };
            answers.insert(node, answer);
        }
    };
    // Those that have not answered by then are missing.
    let _ = tokio::time::timeout(patience, hear).await;
    answers
}

/// Whether somebody listens at an address.
///
/// # Errors
/// What the system says, in words.
pub fn connect(address: SocketAddr, patience: Duration) -> Result<(), String> {
    let connected = TcpStream::connect_timeout(&address, patience);
    connected
        .map(drop)
        .map_err(|error| format!("cannot be reached: {error}"))
}
