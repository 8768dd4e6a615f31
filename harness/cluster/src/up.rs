//! All nodes of a cluster file as processes on this machine.
//!
//! Each node is a process of the same executable (`triptych node …`). It ends when its standard input
//! ends: so it ends when it is told to, and when whoever started it is gone, however that ended. What
//! it says goes to its log file in the data folder ([`folder`]).

pub mod folder;

use crate::file::{ClusterFile, NodeAt};
use crate::probe::{self, Status};
use folder::{DataFolder, FolderError};
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use triptych_load::pool::Cancel;

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct Start {
    /// The `triptych` command.
    pub program: PathBuf,
    /// The cluster file, for the nodes to read.
    pub file: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Whether to throw away the data that is there.
    pub fresh: bool,
    /// More arguments for every node.
    pub arguments: Vec<String>,
}

/// Why a cluster does not come up.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// A node cannot listen where the file says. Nothing was touched.
    #[error("{node} cannot listen: {error}{}", hint(error))]
    Address {
        /// The node.
        node: NodeAt,
        /// What the system says.
        error: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A process cannot be started.
    #[error("{node} cannot be started: {error}")]
    Spawn {
        /// The node.
        node: NodeAt,
        /// What the system says.
        error: io::Error,
    },
    /// Nodes refused to start, because of what they were given.
    #[error("{0}")]
    Refused(String),
    /// It was not ready in time.
    #[error("{0}")]
    NotReady(String),
    /// Somebody stopped it first.
    #[error("stopped before the cluster was ready")]
    Stopped,
}

pub(crate) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "\nanother process listens there: stop it, or choose another port in the cluster file"
        }
        io::ErrorKind::AddrNotAvailable => {
            "\nthat address is not this machine's: start the node there, with `triptych node`"
        }
        _ => "",
    }
}

/// A node's process.
#[derive(Debug)]
struct Running {
    node: NodeAt,
    child: Child,
    over: Option<ExitStatus>,
}

/// A cluster's processes. To drop it kills those that still run.
#[derive(Debug)]
pub struct Cluster {
    file: ClusterFile,
    folder: DataFolder,
    running: Vec<Running>,
}

/// A node that has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The node.
    pub node: NodeAt,
    /// How it ended.
    pub status: ExitStatus,
    /// The last line that it said.
    pub last_line: Option<String>,
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended ({})", self.node, self.status)?;
        match &self.last_line {
            Some(line) => write!(f, "; its last line: {line}"),
            None => Ok(()),
        }
    }
}

/// The exit status of a node that was given what it cannot work with.
const BAD_INPUT: i32 = 2;

impl Cluster {
    /// Starts all nodes. Addresses and the data folder are looked at first.
    ///
    /// # Errors
    /// [`UpError`]; nodes that were started by then are killed.
    pub fn start(file: &ClusterFile, start: &Start) -> Result<Cluster, UpError> {
        let nodes = file.nodes();
        // All at once, or nodes of the same file could be found free one after the other.
        let mut held = Vec::new();
        for node in &nodes {
            match TcpListener::bind(node.listen) {
                Ok(listener) => held.push(listener),
                Err(error) => return Err(UpError::Address { node: *node, error }),
            }
        }
        let folder = DataFolder::claim(&start.data, file, start.fresh)?;
        drop(held);
        let mut cluster = Cluster {
            file: file.clone(),
            folder,
            running: Vec::new(),
        };
        for node in nodes {
            let child = cluster.spawn(&node, start);
            let child = child.map_err(|error| UpError::Spawn { node, error })?;
            cluster.running.push(Running {
                node,
                child,
                over: None,
            });
        }
        Ok(cluster)
    }

    fn spawn(&self, node: &NodeAt, start: &Start) -> io::Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.log(node))?;
        let mut command = Command::new(&start.program);
        command
            .args(["node", node.role.name(), "--id", &node.id.0.to_string()])
            .arg("--config")
            .arg(&start.file)
            .arg("--data")
            .arg(self.folder.dir())
            .arg("--leash")
            .args(&start.arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // ^C in a terminal goes to a whole group; nodes are told to stop by who started them.
            .process_group(0);
        command.spawn()
    }

    /// The data folder.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Processes that run, by node.
    pub fn processes(&self) -> impl Iterator<Item = (NodeAt, u32)> {
        let running = self.running.iter().filter(|running| running.over.is_none());
        running.map(|running| (running.node, running.child.id()))
    }

    /// Nodes that have ended by themselves since this was asked last.
    pub fn deaths(&mut self) -> Vec<Death> {
        let folder = &self.folder;
        let alive = self.running.iter_mut().filter(|one| one.over.is_none());
        let ended = alive.filter_map(|one| {
            // A process that cannot even be asked about is not one that ended by itself.
            let status = one.child.try_wait().ok().flatten()?;
            one.over = Some(status);
            Some(Death {
                node: one.node,
                status,
                last_line: folder.last_line(&one.node),
            })
        });
        ended.collect()
    }

    /// Waits until every node that serves clients does so and sees all others, and says in which view
    /// of a log, or epoch of a ring, that is.
    ///
    /// # Errors
    /// Who is missing and why, if that does not come about in time.
    pub fn wait_ready(&mut self, patience: Duration, cancel: &Cancel) -> Result<u64, UpError> {
        let began = Instant::now();
        loop {
            let deaths = self.deaths();
            if !deaths.is_empty() {
                // What one node refuses, others are likely to refuse too: hear all of them.
                std::thread::sleep(Duration::from_millis(200));
                let deaths = [deaths, self.deaths()].concat();
                let refused = |death: &&Death| death.status.code() == Some(BAD_INPUT);
                let lines: Vec<String> = deaths.iter().map(Death::to_string).collect();
                let told = format!("the cluster cannot start\n{}", lines.join("\n"));
                return Err(match deaths.iter().any(|death| refused(&death)) {
                    true => UpError::Refused(told),
                    false => UpError::NotReady(told),
                });
            }
            if cancel.is_cancelled() {
                return Err(UpError::Stopped);
            }
            let seen = probe::ask_all(&self.file, Duration::from_millis(500));
            if let Some(view) = ready(&self.file, &seen) {
                return Ok(view);
            }
            if began.elapsed() >= patience {
                return Err(UpError::NotReady(self.missing(patience, &seen)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Who is missing, and the last that was heard of them.
    fn missing(&self, patience: Duration, seen: &[(NodeAt, Result<Status, String>)]) -> String {
        let mut told = format!(
            "the cluster was not ready within {} s; what is known of those that are missing:",
            patience.as_secs()
        );
        let kind = self.file.kind();
        for (node, status) in seen {
            let problem = match status {
                Err(problem) => problem.clone(),
                Ok(status) if status.view == 0 => format!("is in no {} yet", kind.view()),
                Ok(status) => format!(
                    "is in {} {}, which has not all nodes",
                    kind.view(),
                    status.view
                ),
            };
            told.push_str(&format!("\n{node}: {problem}{}", self.said(node)));
        }
        let mut others = self.file.nodes();
        others.retain(|node| !node.role.serves());
        for (node, reached) in probe::reach(&self.file, &others, Duration::from_secs(1)) {
            if let Err(error) = reached {
                told.push_str(&format!("\n{node}: {error}{}", self.said(&node)));
            }
        }
        told
    }

    fn said(&self, node: &NodeAt) -> String {
        let line = self.folder.last_line(node);
        line.map_or_else(
            || "; it has said nothing".to_owned(),
            |line| format!("; its last line: {line}"),
        )
    }

    /// Tells all nodes to stop, waits for them, and kills those that do not stop in time. Returns
    /// those that had to be killed.
    pub fn stop(mut self, patience: Duration) -> Vec<NodeAt> {
        for one in &mut self.running {
            drop(one.child.stdin.take());
        }
        let began = Instant::now();
        loop {
            self.deaths();
            let left = self.running.iter().filter(|one| one.over.is_none());
            let left: Vec<NodeAt> = left.map(|one| one.node).collect();
            if left.is_empty() || began.elapsed() >= patience {
                // Those that are left are killed when `self` is dropped.
                return left;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let left = self.running.iter_mut().filter(|one| one.over.is_none());
        for one in left {
            // It may have ended meanwhile; then there is nothing to kill.
            let _ = one.child.kill();
            let _ = one.child.wait();
            let _ = std::fs::remove_file(self.folder.pid(&one.node));
        }
    }
}

/// The view in which all nodes work, if all that serve are in it.
fn ready(file: &ClusterFile, seen: &[(NodeAt, Result<Status, String>)]) -> Option<u64> {
    let views: Option<Vec<u64>> = seen
        .iter()
        .map(|(_, status)| status.as_ref().ok().filter(|status| status.whole(file)))
        .map(|status| status.map(|status| status.view))
        .collect();
    let views = views?;
    let first = *views.first()?;
    (first > 0 && views.iter().all(|view| *view == first)).then_some(first)
}
