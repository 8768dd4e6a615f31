//! One node of a cluster as this process.

use crate::bench::machine::Process;
use crate::calibrate::profile::{Measured, Samples};
use crate::file::{ClusterFile, LogFile, NodeAt, Role};
use crate::up::folder::{DataFolder, FolderError};
use std::fs;
use std::io::{self, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use triptych_load::pool::Cancel;
use triptych_mesh::Server as CacheServer;
use triptych_mesh::backing::database::Database;
use triptych_nodes::disk::StoreError;
use triptych_nodes::tcp::{self, Book, Handle, Place, Report, RunError, Server};

/// How to run a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder of the cluster.
    pub data: PathBuf,
    /// Whether to stop when standard input ends.
    pub leash: bool,
    /// Whether to measure how long the node works on what it is given, and leave that in the data
    /// folder at the end.
    pub measure: bool,
}

/// Why a node does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It cannot listen where the file says. Nothing was touched.
    #[error("{node} cannot listen: {error}{}", crate::up::hint(error))]
    Address {
        /// The node.
        node: NodeAt,
        /// What the system says.
        error: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The node's own data cannot be used.
    #[error("{node} cannot use its data: {error}")]
    Store {
        /// The node.
        node: NodeAt,
        /// What is wrong with it.
        error: StoreError,
    },
    /// The system refuses something.
    #[error("{node}: {error}")]
    System {
        /// The node.
        node: NodeAt,
        /// What it says.
        error: io::Error,
    },
}

impl NodeError {
    /// Whether it is because of what the node was given, rather than of the machine.
    pub fn is_bad_input(&self) -> bool {
        match self {
            NodeError::Address { .. } | NodeError::Folder(_) => true,
            NodeError::Store { error, .. } => !matches!(error, StoreError::Io { .. }),
            NodeError::System { .. } => false,
        }
    }
}

/// How often somebody looks whether the node is to stop, and has something to say.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often notices are printed.
const SAY_EVERY: Duration = Duration::from_millis(500);

/// Runs a node until it is told to stop. Prints what an operator should see to stderr, a line each.
///
/// # Errors
/// [`NodeError`].
pub fn run(
    file: &ClusterFile,
    node: NodeAt,
    options: &Options,
    stop: Arc<Cancel>,
) -> Result<(), NodeError> {
    // The address first: whoever finds it taken has touched nothing.
    let free = TcpListener::bind(node.listen);
    drop(free.map_err(|error| NodeError::Address { node, error })?);
    let folder = DataFolder::join(&options.data, file)?;
    let bound = Server::bind(tcp::Options {
        node: node.id,
        cluster: file.spoken_name(),
        listen: node.listen,
        place: Place::Folder(folder.store(&node)),
        limits: limits(file),
        measure: options.measure,
    });
    let server = bound.map_err(|error| failed(node, error))?;
    let system = |error| NodeError::System { node, error };
    if let Some(own) = Process::own() {
        fs::write(folder.pid(&node), own.line()).map_err(system)?;
    }
    let handle = server.handle();
    if options.leash {
        let handle = handle.clone();
        thread::spawn(move || wait_for_end(&handle));
    }
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let over = Arc::clone(&over);
        thread::spawn(move || watch(&handle, &stop, &over))
    };
    eprintln!("{node} of cluster `{}` listens", file.name());
    let ran = serve(file, node, server);
    over.store(true, Ordering::Relaxed);
    // It says all that there was to say before it ends.
    let _ = watcher.join();
    let report = ran.map_err(|error| failed(node, error));
    // Whoever looks for the node's process finds none, whether or not this file stays.
    let _ = fs::remove_file(folder.pid(&node));
    let report = report?;
    say(&report);
    if options.measure {
        let samples = samples(&report);
        let text = serde_json::to_string(&samples).map_err(io::Error::other);
        let written = text.and_then(|text| fs::write(folder.samples(&node), text));
        written.map_err(system)?;
    }
    eprintln!("{node} stopped");
    Ok(())
}

/// Runs the node that a file says.
fn serve(file: &ClusterFile, node: NodeAt, server: Server) -> Result<Report, RunError> {
    let book = file.addresses().into_iter();
    let book: Book = book
        .map(|(node, address)| (node, address.to_string()))
        .collect();
    match file {
        ClusterFile::Log(file) => {
            let config = Rc::new(file.config());
            server.run::<triptych_log::Message>(book, |stored| {
                let role = node.role.of_log();
                let role = role.expect("a file of the log has nodes of the log only");
                role.node(&config, node.id, stored, triptych_log::Bugs::default())
            })
        }
        ClusterFile::Cache(file) => {
            let config = Rc::new(file.config());
            server.run::<triptych_mesh::Message>(book, |stored| match node.role {
                Role::Database => Box::new(Database::recover(config.servers.clone(), stored)),
                _ => {
                    let bugs = triptych_mesh::Bugs::default();
                    Box::new(CacheServer::recover(config, node.id, stored, bugs))
                }
            })
        }
    }
}

/// The largest message in a cluster of the log: it may have some of the largest records.
pub(crate) fn message_bytes(file: &LogFile) -> usize {
    let record = usize::try_from(file.limits.record_bytes).unwrap_or(usize::MAX);
    let least = tcp::Limits::default().message_bytes;
    least.max(record.saturating_mul(4))
}

/// What bounds the driver, from what bounds the node.
fn limits(file: &ClusterFile) -> tcp::Limits {
    let least = tcp::Limits::default();
    match file {
        ClusterFile::Log(file) => tcp::Limits {
            message_bytes: message_bytes(file),
            ..least
        },
        // A server that is new gets a copy of all that another one has, in one message.
        ClusterFile::Cache(_) => tcp::Limits {
            message_bytes: CACHE_MESSAGE,
            peer_bytes: 2 * CACHE_MESSAGE,
            ..least
        },
    }
}

/// The largest message between cache servers.
const CACHE_MESSAGE: usize = 256 << 20;

fn failed(node: NodeAt, error: RunError) -> NodeError {
    match error {
        RunError::Listen { error, .. } => NodeError::Address { node, error },
        RunError::Store(error) => NodeError::Store { node, error },
        RunError::Loop(error) => NodeError::System { node, error },
    }
}

/// Reads standard input to its end.
fn wait_for_end(handle: &Handle) {
    let mut byte = [0];
    let mut input = io::stdin().lock();
    while input.read(&mut byte).is_ok_and(|count| count > 0) {}
    handle.stop();
}

/// Tells the node to stop when that is asked for, and prints what it has to say.
fn watch(handle: &Handle, stop: &Cancel, over: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let Ok(runtime) = runtime else {
        // Then there is nobody to print; the node still has to hear when to stop.
        while !over.load(Ordering::Relaxed) {
            if stop.is_cancelled() {
                handle.stop();
            }
            thread::sleep(LOOK_EVERY);
        }
        return;
    };
    let mut said = Instant::now();
    while !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK_EVERY);
        if stop.is_cancelled() {
            handle.stop();
        } else if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let report = runtime.block_on(async {
                let mut report = Box::pin(handle.report());
                loop {
                    match tokio::time::timeout(LOOK_EVERY, &mut report).await {
                        Ok(report) => return report,
                        // A node that has just ended answers no more.
                        Err(_) if over.load(Ordering::Relaxed) => return None,
                        Err(_) => {}
                    }
                }
            });
            if let Some(report) = report {
                say(&report);
            }
        }
    }
}

fn say(report: &Report) {
    for notice in &report.notices {
        eprintln!("{notice}");
    }
}

fn samples(report: &Report) -> Samples {
    let all = report.samples.iter().map(|(kind, sample)| {
        let measured = Measured {
            count: sample.count,
            units: sample.units,
            bytes: sample.bytes,
            nanos: sample.nanos,
        };
        ((*kind).to_owned(), measured)
    });
    all.collect()
}
