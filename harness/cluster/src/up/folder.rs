//! The folder of a cluster on one machine.
//!
//! | name | what it is |
//! |---|---|
//! | `cluster.toml` | the cluster that the folder belongs to: the file that it was made for |
//! | `lock` | held by the `cluster up` that works here |
//! | `storage-200/` | the store of a node |
//! | `storage-200.log` | what it said |
//! | `storage-200.pid` | its process while it runs |
//! | `storage-200.samples` | how long it has worked on what, if it was to measure that |

use crate::bench::machine::Process;
use crate::file::{ClusterFile, NodeAt, Role};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const CLUSTER: &str = "cluster.toml";
const LOCK: &str = "lock";

/// Why a folder cannot be used for a cluster. Nothing in it was touched.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refuses.
    #[error("the data folder {} cannot be used: {source}\nchoose another with --data DIR", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// It holds somebody else's things.
    #[error(
        "{} is not empty ({stranger} is in it) and holds no cluster; choose another folder with --data DIR",
        dir.display()
    )]
    Stranger {
        /// The folder.
        dir: PathBuf,
        /// Something in it.
        stranger: String,
    },
    /// It holds another cluster.
    #[error(
        "{} holds the data of cluster {theirs}, this one is {ours}; choose another folder with \
         --data DIR, or throw that data away with `triptych cluster up FILE --fresh`",
        dir.display()
    )]
    Other {
        /// The folder.
        dir: PathBuf,
        /// The cluster that it belongs to.
        theirs: String,
        /// The cluster that should work there.
        ours: String,
    },
    /// Another cluster of nodes works in it now.
    #[error("{} is in use: {by}", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
        /// By what.
        by: String,
    },
}

/// The folder of a cluster.
#[derive(Debug)]
pub struct DataFolder {
    dir: PathBuf,
    /// Held while a whole cluster is run from here.
    lock: Option<File>,
}

impl DataFolder {
    /// Where a cluster's data is by default.
    pub fn default_for(file: &ClusterFile) -> PathBuf {
        match file.data() {
            Some(data) => PathBuf::from(data),
            None => Path::new("triptych-out").join(format!("cluster-{}", file.name())),
        }
    }

    /// Looks at a folder where a cluster may be running, and changes nothing.
    pub fn at(dir: &Path) -> DataFolder {
        DataFolder {
            dir: dir.to_path_buf(),
            lock: None,
        }
    }

    /// Makes sure that a folder is this cluster's, or becomes it if it is empty or not there.
    ///
    /// # Errors
    /// [`FolderError`]; then nothing was changed.
    pub fn join(dir: &Path, file: &ClusterFile) -> Result<DataFolder, FolderError> {
        let failed = |source| FolderError::Io {
            dir: dir.to_path_buf(),
            source,
        };
        if let Some(theirs) = owner(dir)? {
            if theirs.identity() != file.identity() {
                return Err(FolderError::Other {
                    dir: dir.to_path_buf(),
                    theirs: theirs.described(),
                    ours: file.described(),
                });
            }
            return Ok(DataFolder::at(dir));
        }
        own(dir, file).map_err(failed)?;
        Ok(DataFolder::at(dir))
    }

    /// Takes a folder for running a whole cluster. With `fresh`, whatever cluster was in it is thrown
    /// away first.
    ///
    /// # Errors
    /// [`FolderError`]; then nothing was changed.
    pub fn claim(dir: &Path, file: &ClusterFile, fresh: bool) -> Result<DataFolder, FolderError> {
        let failed = |source| FolderError::Io {
            dir: dir.to_path_buf(),
            source,
        };
        let held = match dir.join(LOCK).exists() {
            true => Some(lock(dir)?),
            false => None,
        };
        let there = owner(dir)?;
        let folder = DataFolder::at(dir);
        let running = folder.running().into_iter().next();
        if let Some((name, process)) = running {
            return Err(FolderError::Busy {
                dir: dir.to_path_buf(),
                by: format!("{name} runs as process {}", process.pid),
            });
        }
        if fresh && there.is_some() {
            folder.clear().map_err(failed)?;
            own(dir, file).map_err(failed)?;
        }
        let mut folder = DataFolder::join(dir, file)?;
        folder.lock = Some(match held {
            Some(held) => held,
            None => lock(dir)?,
        });
        Ok(folder)
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A node's store.
    pub fn store(&self, node: &NodeAt) -> PathBuf {
        self.dir.join(node.name())
    }

    /// What a node says.
    pub fn log(&self, node: &NodeAt) -> PathBuf {
        self.dir.join(format!("{}.log", node.name()))
    }

    /// The file with a node's process.
    pub fn pid(&self, node: &NodeAt) -> PathBuf {
        self.dir.join(format!("{}.pid", node.name()))
    }

    /// What a node leaves if it has measured how long it works.
    pub fn samples(&self, node: &NodeAt) -> PathBuf {
        self.dir.join(format!("{}.samples", node.name()))
    }

    /// The process of a node, if it runs here.
    pub fn process(&self, node: &NodeAt) -> Option<Process> {
        Process::from_line(&fs::read_to_string(self.pid(node)).ok()?)
    }

    /// The last line that a node said, if it said anything.
    pub fn last_line(&self, node: &NodeAt) -> Option<String> {
        let log = fs::read(self.log(node)).ok()?;
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(last.trim().to_owned())
    }

    /// All nodes that run here, by name, whatever cluster they are of.
    pub fn running(&self) -> Vec<(String, Process)> {
        let mut running = Vec::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".pid") else {
                continue;
            };
            let line = fs::read_to_string(entry.path()).unwrap_or_default();
            if let Some(process) = Process::from_line(&line) {
                running.push((name.to_owned(), process));
            }
        }
        running.sort_by(|a, b| a.0.cmp(&b.0));
        running
    }

    /// Removes what the nodes have left, and nothing else that may be in the folder.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.rsplit_once('.') {
                Some((node, "log" | "pid" | "samples")) if is_node(node) => {
                    fs::remove_file(entry.path())?
                }
                None if is_node(&name) => fs::remove_dir_all(entry.path())?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Makes a folder a cluster's.
fn own(dir: &Path, file: &ClusterFile) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    // Whole or not at all: nodes that are started at the same time all come by here.
    let part = dir.join(format!(".{CLUSTER}.{}", std::process::id()));
    let mut written = File::create(&part)?;
    written.write_all(file.to_toml().as_bytes())?;
    written.sync_all()?;
    fs::rename(&part, dir.join(CLUSTER))
}

/// Whether a name is that of a node's folder.
fn is_node(name: &str) -> bool {
    let Some((role, id)) = name.split_once('-') else {
        return false;
    };
    Role::named(role).is_some() && id.parse::<u16>().is_ok()
}

/// The cluster that a folder belongs to; none if it is empty or not there.
fn owner(dir: &Path) -> Result<Option<ClusterFile>, FolderError> {
    let failed = |source| FolderError::Io {
        dir: dir.to_path_buf(),
        source,
    };
    let stranger = |stranger: String| FolderError::Stranger {
        dir: dir.to_path_buf(),
        stranger,
    };
    match fs::read_to_string(dir.join(CLUSTER)) {
        Ok(text) => match ClusterFile::parse(CLUSTER, &text) {
            Ok(file) => Ok(Some(file)),
            Err(_) => Err(stranger(format!("a {CLUSTER} that is none of ours"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entries = match fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            let names = entries.flatten().map(|entry| entry.file_name());
            // What a claim or a join that was interrupted leaves is nobody's.
            let ours = |name: &String| name == LOCK || name.starts_with(&format!(".{CLUSTER}."));
            let mut names = names.map(|name| name.to_string_lossy().into_owned());
            match names.find(|name| !ours(name)) {
                Some(name) => Err(stranger(name)),
                None => Ok(None),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

fn lock(dir: &Path) -> Result<File, FolderError> {
    let failed = |source| FolderError::Io {
        dir: dir.to_path_buf(),
        source,
    };
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::Busy {
            dir: dir.to_path_buf(),
            by: "another `triptych cluster up` works in it".to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Kind;

    fn cluster(from: &str, to: &str) -> ClusterFile {
        ClusterFile::parse("c.toml", &Kind::Log.example().replacen(from, to, 1)).unwrap()
    }

    #[test]
    fn a_folder_belongs_to_one_cluster() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("data");
        let ours = cluster("", "");
        drop(DataFolder::claim(&dir, &ours, false).unwrap());
        // The same one again, with other ports.
        drop(DataFolder::claim(&dir, &cluster("7100", "7200"), false).unwrap());
        for other in [
            cluster("\"local\"", "\"mine\""),
            cluster("copies = 3", "copies = 2"),
        ] {
            let error = DataFolder::claim(&dir, &other, false).unwrap_err();
            assert!(matches!(error, FolderError::Other { .. }), "{error}");
        }
        // Fresh, it becomes another's; what is not the cluster's stays.
        let node = ours.nodes()[0];
        let folder = DataFolder::at(&dir);
        fs::create_dir(folder.store(&node)).unwrap();
        fs::write(folder.log(&node), "one\ntwo\n\n").unwrap();
        fs::write(dir.join("notes.txt"), "mine").unwrap();
        assert_eq!(folder.last_line(&node).as_deref(), Some("two"));
        let other = cluster("copies = 3", "copies = 2");
        drop(DataFolder::claim(&dir, &other, true).unwrap());
        assert!(!folder.store(&node).exists() && folder.last_line(&node).is_none());
        assert!(dir.join("notes.txt").exists());
        assert!(DataFolder::claim(&dir, &ours, false).is_err());
    }

    #[test]
    fn a_ring_and_a_log_do_not_share_a_folder() {
        let temp = tempfile::tempdir().unwrap();
        let ring = |level: &str| {
            let text = Kind::Cache.example();
            let text = text.replace("\"replicated\"\nreplicas = 1", &format!("\"{level}\""));
            ClusterFile::parse("c.toml", &text).unwrap()
        };
        let (ours, log) = (ring("async"), cluster("", ""));
        assert_eq!(ours.name(), log.name());
        drop(DataFolder::claim(temp.path(), &ours, false).unwrap());
        drop(DataFolder::claim(temp.path(), &ours, false).unwrap());
        for other in [log, ring("synced")] {
            let error = DataFolder::claim(temp.path(), &other, false).unwrap_err();
            assert!(matches!(error, FolderError::Other { .. }), "{error}");
            assert!(error.to_string().contains("a cache, async"), "{error}");
        }
        // Fresh, what the ring's nodes have left goes.
        let folder = DataFolder::at(temp.path());
        for node in ours.nodes() {
            fs::create_dir(folder.store(&node)).unwrap();
        }
        drop(DataFolder::claim(temp.path(), &cluster("", ""), true).unwrap());
        assert!(ours.nodes().iter().all(|node| !folder.store(node).exists()));
    }

    #[test]
    fn a_folder_of_other_things_is_not_touched() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "").unwrap();
        for fresh in [false, true] {
            let error = DataFolder::claim(temp.path(), &cluster("", ""), fresh).unwrap_err();
            assert!(error.to_string().contains("thesis.tex is in it"), "{error}");
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_in_use_is_not_taken() {
        let temp = tempfile::tempdir().unwrap();
        let file = cluster("", "");
        let held = DataFolder::claim(temp.path(), &file, false).unwrap();
        let error = DataFolder::claim(temp.path(), &file, true).unwrap_err();
        assert!(
            error.to_string().contains("another `triptych cluster up`"),
            "{error}"
        );
        drop(held);
        // A node that runs without a `cluster up`: here, this process.
        let node = file.nodes()[3];
        let folder = DataFolder::at(temp.path());
        fs::write(folder.pid(&node), Process::own().unwrap().line()).unwrap();
        assert_eq!(folder.process(&node), Process::own());
        let error = DataFolder::claim(temp.path(), &file, true).unwrap_err();
        assert!(
            error.to_string().contains("sequencer-100 runs as process"),
            "{error}"
        );
    }
}
