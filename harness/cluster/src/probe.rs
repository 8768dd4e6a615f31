//! Asks nodes how they are.

use crate::file::{ClusterFile, NodeAt, Role};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::LocalSet;
use triptych_nodes::tcp::{Book, Client, Event, Limits};
use triptych_nodes::{Message, NodeId};

/// What a node that serves clients says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The view of a log, or the epoch of a ring, in which it serves; 0 if none.
    pub view: u64,
    /// What it has to tell an operator.
    pub gauges: Vec<(String, u64)>,
}

/// A language in which nodes are asked how they are.
trait Asked: Message {
    /// The question.
    fn question() -> Self;
    /// What an answer says; nothing if it is none.
    fn status(self) -> Option<Result<Status, String>>;
}

impl Asked for triptych_log::Message {
    fn question() -> Self {
        let request = triptych_log::Request::Status;
        triptych_log::Message::Request { op: 0, request }
    }

    fn status(self) -> Option<Result<Status, String>> {
        let triptych_log::Message::Reply { reply, .. } = self else {
            return None;
        };
        Some(match reply {
            triptych_log::Reply::Status { view, gauges } => Ok(Status {
                view: u64::from(view),
                gauges,
            }),
            other => Err(format!("answers with {other:?}")),
        })
    }
}

impl Asked for triptych_mesh::Message {
    fn question() -> Self {
        let request = triptych_mesh::Request::Status;
        triptych_mesh::Message::Request {
            op: 0,
            age: 0,
            request,
        }
    }

    fn status(self) -> Option<Result<Status, String>> {
        let triptych_mesh::Message::Reply { reply, .. } = self else {
            return None;
        };
        Some(match reply {
            triptych_mesh::Reply::Status { gauges } => {
                let mut status = Status { view: 0, gauges };
                // A server without all data serves nobody, whatever epoch it knows.
                if status.gauge("whole") == Some(1) {
                    status.view = status.gauge("epoch").unwrap_or(0);
                }
                Ok(status)
            }
            other => Err(format!("answers with {other:?}")),
        })
    }
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
            ("ring", Role::Cache),
        ];
        let all = roles.iter().all(|(gauge, role)| {
            let have = self.gauge(gauge);
            have.is_none_or(|have| have as usize == file.of(*role).len())
        });
        self.view > 0 && all && self.gauge("indexes") == self.gauge("indexes_ready")
    }
}

/// Asks all nodes that serve clients at once. What is wrong is said in words.
pub fn ask_all(file: &ClusterFile, patience: Duration) -> Vec<(NodeAt, Result<Status, String>)> {
    let nodes = file.serving();
    let asked = match file {
        ClusterFile::Log(_) => run(file, &nodes, async |client| {
            ask::<triptych_log::Message>(&client, &nodes, patience).await
        }),
        ClusterFile::Cache(_) => run(file, &nodes, async |client| {
            ask::<triptych_mesh::Message>(&client, &nodes, patience).await
        }),
    };
    of_each(&nodes, asked)
}

/// Says of nodes whether they can be reached: whether they listen, and are who the file says.
pub fn reach(
    file: &ClusterFile,
    nodes: &[NodeAt],
    patience: Duration,
) -> Vec<(NodeAt, Result<(), String>)> {
    let reached = match file {
        ClusterFile::Log(_) => run(file, nodes, async |client| {
            greet::<triptych_log::Message>(&client, nodes, patience).await
        }),
        ClusterFile::Cache(_) => run(file, nodes, async |client| {
            greet::<triptych_mesh::Message>(&client, nodes, patience).await
        }),
    };
    of_each(nodes, reached)
}

/// What came of each node; those that have not answered are silent.
fn of_each<T: Clone>(
    nodes: &[NodeAt],
    answers: std::io::Result<Answers<T>>,
) -> Vec<(NodeAt, Result<T, String>)> {
    let silent = || Err("does not answer".to_owned());
    let of = |node: &NodeAt| match &answers {
        Ok(answers) => answers.get(&node.id).cloned().unwrap_or_else(silent),
        Err(error) => Err(error.to_string()),
    };
    nodes.iter().map(|node| (*node, of(node))).collect()
}

/// Does something with a client of the cluster that knows some of its nodes.
fn run<M: Asked, T>(
    file: &ClusterFile,
    nodes: &[NodeAt],
    work: impl AsyncFnOnce(Client<M>) -> T,
) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let book = nodes.iter().map(|node| (node.id, node.listen.to_string()));
    let book: Book = book.collect();
    let working = async {
        // It belongs to the tasks of this runtime.
        work(Client::new(&file.spoken_name(), book, Limits::default())).await
    };
    Ok(LocalSet::new().block_on(&runtime, working))
}

type Answers<T> = BTreeMap<NodeId, Result<T, String>>;

async fn ask<M: Asked>(
    client: &Client<M>,
    nodes: &[NodeAt],
    patience: Duration,
) -> Answers<Status> {
    for node in nodes {
        client.send(node.id, &M::question());
    }
    let mut answers = Answers::new();
    let hear = async {
        while answers.len() < nodes.len() {
            let (node, answer) = match client.next().await {
                Event::Message(node, message) => match message.status() {
                    Some(status) => (node, status),
                    None => continue,
                },
                Event::Lost(node, why) => (node, Err(format!("cannot be reached: {why}"))),
            };
            answers.insert(node, answer);
        }
    };
    // Those that have not answered by then are missing.
    let _ = tokio::time::timeout(patience, hear).await;
    answers
}

async fn greet<M: Asked>(client: &Client<M>, nodes: &[NodeAt], patience: Duration) -> Answers<()> {
    for node in nodes {
        // Only those that serve answer; others are asked to have a connection made, with its hellos.
        client.send(node.id, &M::question());
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
