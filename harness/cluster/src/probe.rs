//! Asks nodes how they are.

use crate::file::{ClusterFile, NodeAt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::LocalSet;
use triptych_log::{Message, Reply, Request, Role};
use triptych_nodes::NodeId;
use triptych_nodes::tcp::{Book, Client, Event, Limits};

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
    let asked = run(
        async |client| ask(&client, &engines, patience).await,
        file,
        &engines,
    );
    let silent = || Err("does not answer".to_owned());
    let of = |node: &NodeAt| match &asked {
        Ok(answers) => answers.get(&node.id).cloned().unwrap_or_else(silent),
        Err(error) => Err(error.to_string()),
    };
    engines.iter().map(|node| (*node, of(node))).collect()
}

/// Says of nodes whether they can be reached: whether they listen, and are who the file says.
pub fn reach(
    file: &ClusterFile,
    nodes: &[NodeAt],
    patience: Duration,
) -> Vec<(NodeAt, Result<(), String>)> {
    let reached = run(
        async |client| greet(&client, nodes, patience).await,
        file,
        nodes,
    );
    let silent = || Err("does not answer".to_owned());
    let of = |node: &NodeAt| match &reached {
        Ok(answers) => answers.get(&node.id).cloned().unwrap_or_else(silent),
        Err(error) => Err(error.to_string()),
    };
    nodes.iter().map(|node| (*node, of(node))).collect()
}

/// Does something with a client of the cluster that knows some of its nodes.
fn run<T>(
    work: impl AsyncFnOnce(Client<Message>) -> T,
    file: &ClusterFile,
    nodes: &[NodeAt],
) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let book = nodes.iter().map(|node| (node.id, node.listen.to_string()));
    let book: Book = book.collect();
    let working = async {
        // It belongs to the tasks of this runtime.
        work(Client::new(&file.name, book, Limits::default())).await
    };
    Ok(LocalSet::new().block_on(&runtime, working))
}

type Answers<T> = BTreeMap<NodeId, Result<T, String>>;

async fn ask(client: &Client<Message>, engines: &[NodeAt], patience: Duration) -> Answers<Status> {
    for engine in engines {
        let request = Request::Status;
        client.send(engine.id, &Message::Request { op: 0, request });
    }
    let mut answers = Answers::new();
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

async fn greet(client: &Client<Message>, nodes: &[NodeAt], patience: Duration) -> Answers<()> {
    for node in nodes {
        // Only engines answer; the others are asked to have a connection made, with its hellos.
        let request = Request::Status;
        client.send(node.id, &Message::Request { op: 0, request });
    }
    let mut answers = Answers::new();
    let hear = async {
        while answers.len() < nodes.len() {
            while let Some(event) = client.try_next() {
                if let Event::Lost(node, why) = event {
                    answers.insert(node, Err(format!("cannot be reached: {why}")));
                }
            }
            for node in nodes.iter().filter(|node| client.is_connected(node.id)) {
                answers.insert(node.id, Ok(()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    // Those that have not answered by then are missing.
    let _ = tokio::time::timeout(patience, hear).await;
    answers
}
