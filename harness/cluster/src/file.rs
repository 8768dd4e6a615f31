//! Cluster files: what a cluster is made of, and where its nodes listen, as TOML.
//!
//! [`ClusterFile`] is the file's type. All nodes of a cluster and everybody who speaks to it read the
//! same file. Every mistake in it is shown with its place ([`ClusterFile::parse`]).

mod sections;
#[cfg(test)]
mod tests;

pub use triptych_log::Role;

pub use sections::{
    LevelName, LimitsSection, Listed, NodeEntry, Nodes, ShapeSection, TimingSection,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};
use triptych_load::campaign::{Contradiction, Mistakes, Span, known, read};
use triptych_log::Config;
use triptych_nodes::NodeId;

/// A complete small file, for a cluster on one machine.
pub const EXAMPLE: &str = include_str!("../../../workloads/clusters/local.toml");

/// What a cluster is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// The cluster's name. Nodes of clusters with different names do not speak to each other.
    #[schemars(schema_with = "known::id")]
    pub name: String,
    /// What "acknowledged" means: in the memory of those who keep it, or synced to their disks.
    pub level: LevelName,
    /// The folder of the nodes' stores, log files and process ids; by default
    /// `triptych-out/cluster-NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How many of everything.
    pub shape: ShapeSection,
    /// The nodes, and where they listen.
    pub nodes: Nodes,
    /// When things happen.
    #[serde(default)]
    pub timing: TimingSection,
    /// What bounds the nodes' memory.
    #[serde(default)]
    pub limits: LimitsSection,
}

/// A node of the file.
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

/// All roles, in the order in which ports are counted.
const ROLES: [Role; 4] = [
    Role::Controller,
    Role::Sequencer,
    Role::Storage,
    Role::Engine,
];

/// The number of the first node of a role in the short form, as in [`Config::of`].
fn first_id(role: Role) -> u16 {
    match role {
        Role::Controller => 1,
        Role::Sequencer => 100,
        Role::Storage => 200,
        Role::Engine => 1000,
    }
}

/// The JSON schema of cluster files.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(ClusterFile).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), "A cluster of Triptych's log".into());
    }
    schema
}

impl ClusterFile {
    /// Reads a file. `file` is what messages call it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str, text: &str) -> Result<ClusterFile, Mistakes> {
        read(file, text, &schema(), ClusterFile::contradictions)
    }

    /// All nodes: controllers, sequencers, storages, engines, each in the order of the file.
    pub fn nodes(&self) -> Vec<NodeAt> {
        let placed = self.placed().into_iter();
        placed.filter_map(|(_, node)| node.ok()).collect()
    }

    /// The nodes of a role.
    pub fn of(&self, role: Role) -> Vec<NodeAt> {
        let mut nodes = self.nodes();
        nodes.retain(|node| node.role == role);
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
            let ids: Vec<String> = of.iter().map(|node| node.id.0.to_string()).collect();
            let ids = ids.join(", ");
            let other = self.nodes().into_iter().find(|node| node.id == NodeId(id));
            let other = other.map_or_else(String::new, |node| format!("; {id} is a {}", node.role));
            let name = &self.name;
            format!("cluster `{name}` has no {role} {id}: its {role}s are {ids}{other}")
        })
    }

    /// What all nodes agree on.
    pub fn config(&self) -> Config {
        let of = |role| self.of(role).iter().map(|node| node.id).collect();
        Config {
            shape: self.shape.shape(),
            level: self.level.level(),
            timing: self.timing.timing(),
            limits: self.limits.limits(),
            controllers: of(Role::Controller),
            sequencers: of(Role::Sequencer),
            storages: of(Role::Storage),
            engines: of(Role::Engine),
        }
    }

    /// Where every node listens.
    pub fn addresses(&self) -> BTreeMap<NodeId, SocketAddr> {
        let nodes = self.nodes().into_iter();
        nodes.map(|node| (node.id, node.listen)).collect()
    }

    /// A number that two files share if their nodes can work together on the same data: it depends
    /// on the name, the shape and the level, not on addresses and times, which may change between
    /// two starts.
    pub fn identity(&self) -> u64 {
        let ShapeSection {
            logs,
            metas,
            copies,
            indexes,
        } = self.shape;
        let name = self.name.bytes().map(u64::from);
        let shape = [logs, metas, copies, indexes].map(u64::from);
        let level = [self.level as u64];
        let parts = name.chain([u64::MAX]).chain(shape).chain(level);
        parts.fold(0x636c_7573_7465_7231, triptych_world::mix)
    }

    /// The file with every default filled in, as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Gives every node a port of this machine that is free now, and keeps its number.
    ///
    /// # Errors
    /// If the system gives no more ports.
    pub fn place_anywhere(&mut self) -> std::io::Result<()> {
        let loopback = || TcpListener::bind("127.0.0.1:0");
        let nodes = self.nodes();
        // All held until each has one, so that none is given twice.
        let held: std::io::Result<Vec<TcpListener>> = nodes.iter().map(|_| loopback()).collect();
        let mut placed: BTreeMap<Role, Vec<NodeEntry>> = BTreeMap::new();
        for (node, listener) in nodes.into_iter().zip(held?) {
            placed.entry(node.role).or_default().push(NodeEntry {
                id: node.id.0,
                listen: listener.local_addr()?.to_string(),
            });
        }
        let mut of = |role| Listed::Each(placed.remove(&role).unwrap_or_default());
        self.nodes = Nodes {
            controllers: of(Role::Controller),
            sequencers: of(Role::Sequencer),
            storages: of(Role::Storage),
            engines: of(Role::Engine),
            base_port: None,
            host: self.nodes.host.clone(),
        };
        Ok(())
    }

    fn listed(&self, role: Role) -> (&'static str, &Listed) {
        match role {
            Role::Controller => ("controllers", &self.nodes.controllers),
            Role::Sequencer => ("sequencers", &self.nodes.sequencers),
            Role::Storage => ("storages", &self.nodes.storages),
            Role::Engine => ("engines", &self.nodes.engines),
        }
    }

    /// Every node with its place in the file, or what is wrong with its address.
    fn placed(&self) -> Vec<(Vec<String>, Result<NodeAt, Contradiction>)> {
        let mut port = self.nodes.base_port.map(u32::from);
        let mut placed = Vec::new();
        for role in ROLES {
            let (key, listed) = self.listed(role);
            match listed {
                Listed::Count(count) => {
                    let path = path(&["nodes", key]);
                    for id in (first_id(role)..).take(usize::from(*count)) {
                        let node = self.counted(role, id, port, &path);
                        let wrong = node.is_err();
                        placed.push((path.clone(), node));
                        if wrong {
                            break;
                        }
                        port = port.map(|port| port + 1);
                    }
                }
                Listed::Each(entries) => {
                    for (n, entry) in entries.iter().enumerate() {
                        let at = path(&["nodes", key, &n.to_string()]);
                        placed.push((at.clone(), written(role, entry, &at)));
                    }
                }
            }
        }
        placed
    }

    /// A node of the short form.
    fn counted(
        &self,
        role: Role,
        id: u16,
        port: Option<u32>,
        path: &[String],
    ) -> Result<NodeAt, Contradiction> {
        let wrong = |path: &[String], what: String, help: &str| Contradiction {
            path: path.to_vec(),
            what,
            help: vec![help.to_owned()],
        };
        let Some(port) = port else {
            let what = format!("the number of {role}s is given, but no `base_port` to count from");
            let help =
                "set `base_port`, or list the nodes: [{ id = 1, listen = \"127.0.0.1:7001\" }]";
            return Err(wrong(path, what, help));
        };
        let at_port = vec!["nodes".to_owned(), "base_port".to_owned()];
        let Ok(port) = u16::try_from(port) else {
            let what = format!("`base_port` is too high: {role} {id} would have port {port}");
            return Err(wrong(&at_port, what, "ports end at 65535"));
        };
        let host: Result<IpAddr, _> = self.nodes.host.parse();
        let Ok(host) = host else {
            let what = format!("`host`: \"{}\" is not an IP address", self.nodes.host);
            let at = vec!["nodes".to_owned(), "host".to_owned()];
            return Err(wrong(&at, what, "write it like \"127.0.0.1\""));
        };
        Ok(NodeAt {
            role,
            id: NodeId(id),
            listen: SocketAddr::new(host, port),
        })
    }

    /// What does not fit together.
    fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut wrong = |path: Vec<String>, what: String, help: Vec<String>| {
            let one = Contradiction { path, what, help };
            if !found.contains(&one) {
                found.push(one);
            }
        };
        let mut ids: BTreeMap<NodeId, NodeAt> = BTreeMap::new();
        let mut addresses: BTreeMap<SocketAddr, NodeAt> = BTreeMap::new();
        for (at, node) in self.placed() {
            let node = match node {
                Ok(node) => node,
                Err(Contradiction { path, what, help }) => {
                    wrong(path, what, help);
                    continue;
                }
            };
            if let Some(problem) = unreachable(node.listen) {
                let below = |key: &str| [&at[..], &[key.to_owned()]].concat();
                let at = match self.listed(node.role).1 {
                    Listed::Each(_) => below("listen"),
                    Listed::Count(_) => path(&["nodes", "host"]),
                };
                wrong(
                    at,
                    problem,
                    vec!["write it like \"127.0.0.1:7001\"".to_owned()],
                );
            }
            if let Some(other) = ids.insert(node.id, node) {
                let what = format!(
                    "the number {} is there twice: {} {other}, {} {node}",
                    node.id.0,
                    article(other.role),
                    article(node.role)
                );
                let help = "every node needs a number of its own, over all roles".to_owned();
                wrong(at.clone(), what, vec![help]);
            }
            if let Some(other) = addresses.insert(node.listen, node) {
                let what = format!("{other} and {node} listen at the same address");
                let help = "every node needs an address of its own".to_owned();
                wrong(at, what, vec![help]);
            }
        }
        for (path, what, help) in self.too_few().into_iter().chain(self.unusable()) {
            wrong(path, what, vec![help]);
        }
        if found.is_empty()
            && let Err(error) = self.config().check()
        {
            found.push(Contradiction {
                path: path(&["nodes"]),
                what: error.to_string(),
                help: Vec::new(),
            });
        }
        found
    }

    /// Copies that there are no nodes for.
    fn too_few(&self) -> Vec<(Vec<String>, String, String)> {
        let ShapeSection {
            metas,
            copies,
            indexes,
            ..
        } = self.shape;
        let wanted = [
            ("metas", metas, Role::Sequencer),
            ("copies", copies, Role::Storage),
            ("indexes", indexes, Role::Engine),
        ];
        let few = wanted.into_iter().filter_map(|(key, wanted, role)| {
            let have = self.listed(role).1.count();
            (usize::from(wanted) > have).then(|| {
                let what = format!("`{key}` is {wanted}, but there are only {have} {role}s");
                let help = format!(
                    "at most {have}, or more {role}s in [nodes] (that one more than `{key}` lets the \
                     cluster replace one that fails)"
                );
                (path(&["shape", key]), what, help)
            })
        });
        few.collect()
    }

    /// Times and limits that nothing works with.
    fn unusable(&self) -> Vec<(Vec<String>, String, String)> {
        let mut wrong = Vec::new();
        for (key, span) in self.timing.spans() {
            if span.0 == 0 {
                let what = format!("`{key}` of {span} is no time at all");
                let help = "write it like \"100us\" or \"5ms\"".to_owned();
                wrong.push((path(&["timing", key]), what, help));
            }
        }
        let TimingSection {
            alive_every,
            dead_after,
            again_after,
            give_up_after,
            ..
        } = self.timing;
        if dead_after.0 < alive_every.0.saturating_mul(2) {
            let what = format!(
                "`dead_after` of {dead_after} takes a node for dead that says it lives every {alive_every}"
            );
            let least = Span(alive_every.0.saturating_mul(2));
            let help = format!("at least {least}, twice `alive_every`");
            wrong.push((path(&["timing", "dead_after"]), what, help));
        }
        if give_up_after <= again_after {
            let what = format!(
                "`give_up_after` of {give_up_after} gives up before anything is sent again, after {again_after}"
            );
            let help = "more than `again_after`".to_owned();
            wrong.push((path(&["timing", "give_up_after"]), what, help));
        }
        let LimitsSection {
            record_bytes,
            pending_bytes,
            ..
        } = self.limits;
        if pending_bytes < record_bytes {
            let what = format!(
                "`pending_bytes` of {pending_bytes} has no room for one record of {record_bytes} bytes"
            );
            let help = "at least `record_bytes`".to_owned();
            wrong.push((path(&["limits", "pending_bytes"]), what, help));
        }
        wrong
    }
}

/// A node that is written out.
fn written(role: Role, entry: &NodeEntry, at: &[String]) -> Result<NodeAt, Contradiction> {
    let listen: Result<SocketAddr, _> = entry.listen.parse();
    let listen = listen.map_err(|_| Contradiction {
        path: [at, &["listen".to_owned()]].concat(),
        what: format!("`listen`: \"{}\" is not an address", entry.listen),
        help: vec!["write it like \"127.0.0.1:7001\": an IP address and a port".to_owned()],
    })?;
    Ok(NodeAt {
        role,
        id: NodeId(entry.id),
        listen,
    })
}

/// Why nobody could connect to an address, if so.
fn unreachable(listen: SocketAddr) -> Option<String> {
    if listen.port() == 0 {
        return Some(format!(
            "`listen`: {listen} has port 0, which means any; others must know which"
        ));
    }
    listen.ip().is_unspecified().then(|| {
        format!("`listen`: {listen} means every address of the machine; others must know which")
    })
}

fn article(role: Role) -> &'static str {
    match role {
        Role::Engine => "an",
        _ => "a",
    }
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}
