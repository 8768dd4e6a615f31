//! Cluster files: what a cluster is made of, and where its nodes listen, as TOML.
//!
//! There are two kinds, told apart by their `kind`: clusters of the shared log ([`LogFile`]) and rings
//! of cache servers ([`CacheFile`]). [`ClusterFile`] is either. All nodes of a cluster and everybody
//! who speaks to it read the same file. Every mistake in it is shown with its place
//! ([`ClusterFile::parse`]).

mod cache;
mod log;
mod place;

pub use cache::{CacheFile, CacheLevel, CacheLimits, CacheNodes, CacheTiming, Merging};
pub use log::{LevelName, LimitsSection, LogFile, Nodes, ShapeSection, TimingSection};
pub use place::{Listed, NodeEntry};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use triptych_load::campaign::{Contradiction, Mistakes, read};
use triptych_nodes::NodeId;

/// What a cluster file is about.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A cluster of the shared log.
    #[default]
    Log,
    /// A ring of cache servers.
    Cache,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Log, Kind::Cache];

    /// As files write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Cache => "cache",
        }
    }

    /// What its nodes call the state of who takes part.
    pub fn view(self) -> &'static str {
        match self {
            Kind::Log => "view",
            Kind::Cache => "epoch",
        }
    }

    /// A complete small file, for a cluster on one machine.
    pub fn example(self) -> &'static str {
        match self {
            Kind::Log => include_str!("../../../workloads/clusters/local.toml"),
            Kind::Cache => include_str!("../../../workloads/clusters/cache.toml"),
        }
    }

    /// The JSON schema of its files.
    pub fn schema(self) -> serde_json::Value {
        let (schema, title) = match self {
            Kind::Log => (
                schemars::schema_for!(LogFile),
                "A cluster of Triptych's log",
            ),
            Kind::Cache => (
                schemars::schema_for!(CacheFile),
                "A ring of Triptych's cache servers",
            ),
        };
        let mut schema = schema.to_value();
        if let Some(object) = schema.as_object_mut() {
            object.insert("title".to_owned(), title.into());
        }
        schema
    }
}

/// What a node does, in a cluster of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Watches the other nodes of a log and decides views.
    Controller,
    /// Keeps the metalog.
    Sequencer,
    /// Keeps records.
    Storage,
    /// Serves the log's clients.
    Engine,
    /// Keeps what cache servers write behind, and who is on their ring.
    Database,
    /// A cache server.
    Cache,
}

impl Role {
    /// All of them, in the order in which ports are counted.
    pub const ALL: [Role; 6] = [
        Role::Controller,
        Role::Sequencer,
        Role::Storage,
        Role::Engine,
        Role::Database,
        Role::Cache,
    ];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::Controller => "controller",
            Role::Sequencer => "sequencer",
            Role::Storage => "storage",
            Role::Engine => "engine",
            Role::Database => "database",
            Role::Cache => "cache",
        }
    }

    /// The role of a name.
    pub fn named(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether its nodes answer clients.
    pub fn serves(self) -> bool {
        matches!(self, Role::Engine | Role::Cache)
    }

    /// The same role, if it is one of the log's.
    pub fn of_log(self) -> Option<triptych_log::Role> {
        Some(match self {
            Role::Controller => triptych_log::Role::Controller,
            Role::Sequencer => triptych_log::Role::Sequencer,
            Role::Storage => triptych_log::Role::Storage,
            Role::Engine => triptych_log::Role::Engine,
            Role::Database | Role::Cache => return None,
        })
    }

    /// The number of its first node in the short form.
    fn first_id(self) -> u16 {
        match self {
            Role::Controller | Role::Cache => 1,
            Role::Sequencer => 100,
            Role::Storage => 200,
            Role::Database => 900,
            Role::Engine => 1000,
        }
    }

    fn article(self) -> &'static str {
        match self {
            Role::Engine => "an",
            _ => "a",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A node of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeAt {
    /// What it does.
    pub role: Role,
    /// Its number.
    pub id: NodeId,
    /// Where it listens.
    pub listen: SocketAddr,
}

impl NodeAt {
    /// The name of its folder and files: `storage-200`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.role, self.id.0)
    }
}

impl fmt::Display for NodeAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.role, self.id.0, self.listen)
    }
}

/// A cluster of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterFile {
    /// Of the shared log.
    Log(LogFile),
    /// Of cache servers.
    Cache(CacheFile),
}

impl From<LogFile> for ClusterFile {
    fn from(file: LogFile) -> Self {
        ClusterFile::Log(file)
    }
}

impl From<CacheFile> for ClusterFile {
    fn from(file: CacheFile) -> Self {
        ClusterFile::Cache(file)
    }
}

/// All that has to be known of a file to know how to read it.
#[derive(Deserialize, JsonSchema)]
struct OfKind {
    #[serde(default)]
    kind: Kind,
}

impl ClusterFile {
    /// Reads a file of either kind. `file` is what messages call it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str, text: &str) -> Result<ClusterFile, Mistakes> {
        // Of the rest of the file nothing can be said before its kind is known.
        let OfKind { kind } = read(file, text, &kind_alone(), |_: &OfKind| Vec::new())?;
        match kind {
            Kind::Log => LogFile::parse(file, text).map(ClusterFile::Log),
            Kind::Cache => CacheFile::parse(file, text).map(ClusterFile::Cache),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            ClusterFile::Log(_) => Kind::Log,
            ClusterFile::Cache(_) => Kind::Cache,
        }
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        match self {
            ClusterFile::Log(file) => &file.name,
            ClusterFile::Cache(file) => &file.name,
        }
    }

    /// The name under which its nodes know each other. Those of a log and of a ring that are called
    /// the same are strangers.
    pub fn spoken_name(&self) -> String {
        match self {
            ClusterFile::Log(file) => file.name.clone(),
            ClusterFile::Cache(file) => file.spoken_name(),
        }
    }

    /// The folder that the file names for its data.
    pub fn data(&self) -> Option<&str> {
        match self {
            ClusterFile::Log(file) => file.data.as_deref(),
            ClusterFile::Cache(file) => file.data.as_deref(),
        }
    }

    /// What "acknowledged" means, as files write it.
    pub fn level_name(&self) -> &'static str {
        match self {
            ClusterFile::Log(file) => file.level.name(),
            ClusterFile::Cache(file) => file.level.name(),
        }
    }

    /// All nodes: role by role, each in the order of the file.
    pub fn nodes(&self) -> Vec<NodeAt> {
        match self {
            ClusterFile::Log(file) => file.nodes(),
            ClusterFile::Cache(file) => file.nodes(),
        }
    }

    /// The nodes of a role.
    pub fn of(&self, role: Role) -> Vec<NodeAt> {
        let mut nodes = self.nodes();
        nodes.retain(|node| node.role == role);
        nodes
    }

    /// The nodes that answer clients.
    pub fn serving(&self) -> Vec<NodeAt> {
        let mut nodes = self.nodes();
        nodes.retain(|node| node.role.serves());
        nodes
    }

    /// A node by its role and number.
    ///
    /// # Errors
    /// Which nodes of that role there are, in words.
    pub fn node(&self, role: Role, id: u16) -> Result<NodeAt, String> {
        let of = self.of(role);
        let found = of.iter().find(|node| node.id == NodeId(id));
        found.copied().ok_or_else(|| {
            let (name, kind) = (self.name(), self.kind().name());
            let other = self.nodes().into_iter().find(|node| node.id == NodeId(id));
            let other = other.map_or_else(String::new, |node| {
                format!("; {id} is {} {}", node.role.article(), node.role)
            });
            if of.is_empty() {
                return format!("cluster `{name}`, a {kind}, has no {role}{other}");
            }
            let ids: Vec<String> = of.iter().map(|node| node.id.0.to_string()).collect();
            let ids = ids.join(", ");
            format!("cluster `{name}` has no {role} {id}: its {role}s are {ids}{other}")
        })
    }

    /// Where every node listens.
    pub fn addresses(&self) -> BTreeMap<NodeId, SocketAddr> {
        let nodes = self.nodes().into_iter();
        nodes.map(|node| (node.id, node.listen)).collect()
    }

    /// A number that two files share if their nodes can work together on the same data.
    pub fn identity(&self) -> u64 {
        match self {
            ClusterFile::Log(file) => file.identity(),
            ClusterFile::Cache(file) => file.identity(),
        }
    }

    /// What data belongs to, in words.
    pub fn described(&self) -> String {
        match self {
            ClusterFile::Log(file) => file.described(),
            ClusterFile::Cache(file) => file.described(),
        }
    }

    /// The file with every default filled in, as TOML.
    pub fn to_toml(&self) -> String {
        let text = match self {
            ClusterFile::Log(file) => toml::to_string(file),
            ClusterFile::Cache(file) => toml::to_string(file),
        };
        text.unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Gives every node a port of this machine that is free now, and keeps its number.
    ///
    /// # Errors
    /// If the system gives no more ports.
    pub fn place_anywhere(&mut self) -> std::io::Result<()> {
        match self {
            ClusterFile::Log(file) => file.place_anywhere(),
            ClusterFile::Cache(file) => file.place_anywhere(),
        }
    }
}

/// A file of the other kind than is needed.
fn other_kind(kind: Kind, needed: Kind) -> Contradiction {
    Contradiction {
        path: path(&["kind"]),
        what: format!(
            "this is a file of a {}, and not of a {}",
            kind.name(),
            needed.name()
        ),
        help: vec![format!(
            "see `triptych cluster example {}` for one that is",
            needed.name()
        )],
    }
}

/// A schema that knows the one key, and lets all else be whatever it is.
fn kind_alone() -> serde_json::Value {
    let mut schema = schemars::schema_for!(OfKind).to_value();
    if let Some(object) = schema.as_object_mut() {
        let anything = serde_json::json!({
            "additionalProperties": { "$ref": "#/additionalProperties" }
        });
        object.insert("additionalProperties".to_owned(), anything);
    }
    schema
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}
