//! Which nodes a file has, and where they listen.

use super::{NodeAt, Role, path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener};
use triptych_load::campaign::Contradiction;
use triptych_nodes::NodeId;

/// The nodes of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Listed {
    /// So many, on ports that are counted from `base_port`.
    Count(#[schemars(range(min = 1, max = 99))] u16),
    /// These.
    Each(#[schemars(length(min = 1))] Vec<NodeEntry>),
}

impl Listed {
    /// How many.
    pub fn count(&self) -> usize {
        match self {
            Listed::Count(count) => usize::from(*count),
            Listed::Each(entries) => entries.len(),
        }
    }
}

/// A node that is written out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// Its number, unique over all roles.
    #[schemars(range(min = 1, max = 65535))]
    pub id: u16,
    /// Where it listens: an IP address and a port.
    pub listen: String,
}

/// The host of nodes that are given by their number alone, if none is named.
pub(super) fn loopback() -> String {
    "127.0.0.1".to_owned()
}

/// The nodes of one role in a file.
pub(super) struct Group<'a> {
    /// What they do.
    pub(super) role: Role,
    /// The key in `[nodes]`.
    pub(super) key: &'static str,
    /// What stands there.
    pub(super) listed: &'a Listed,
}

/// All nodes of a file, by role in the order in which ports are counted.
pub(super) struct Layout<'a> {
    pub(super) host: &'a str,
    pub(super) base_port: Option<u16>,
    pub(super) groups: Vec<Group<'a>>,
}

/// A node and its place in the file, or what is wrong with its address.
type Placed = (Vec<String>, Result<NodeAt, Contradiction>);

impl Layout<'_> {
    /// All nodes whose address makes sense, in the order of the file.
    pub(super) fn nodes(&self) -> Vec<NodeAt> {
        let placed = self.placed().into_iter();
        placed.filter_map(|(_, node)| node.ok()).collect()
    }

    fn placed(&self) -> Vec<Placed> {
        let mut port = self.base_port.map(u32::from);
        let mut placed = Vec::new();
        for &Group { role, key, listed } in &self.groups {
            match listed {
                Listed::Count(count) => {
                    let path = path(&["nodes", key]);
                    for id in (role.first_id()..).take(usize::from(*count)) {
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
        let host: Result<IpAddr, _> = self.host.parse();
        let Ok(host) = host else {
            let what = format!("`host`: \"{}\" is not an IP address", self.host);
            let at = vec!["nodes".to_owned(), "host".to_owned()];
            return Err(wrong(&at, what, "write it like \"127.0.0.1\""));
        };
        Ok(NodeAt {
            role,
            id: NodeId(id),
            listen: SocketAddr::new(host, port),
        })
    }

    /// What is wrong with numbers and addresses.
    pub(super) fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut wrong = |path: Vec<String>, what: String, help: String| {
            let help = vec![help];
            let one = Contradiction { path, what, help };
            if !found.contains(&one) {
                found.push(one);
            }
        };
        let mut ids: BTreeMap<NodeId, NodeAt> = BTreeMap::new();
        let mut addresses: BTreeMap<SocketAddr, NodeAt> = BTreeMap::new();
        // Of the others, the message is about the host that they share.
        let written_out = |group: &&Group| matches!(group.listed, Listed::Each(_));
        let written_out = self.groups.iter().filter(written_out);
        let written_out: BTreeSet<Role> = written_out.map(|group| group.role).collect();
        for (at, node) in self.placed() {
            let node = match node {
                Ok(node) => node,
                Err(Contradiction { path, what, help }) => {
                    help.into_iter()
                        .for_each(|help| wrong(path.clone(), what.clone(), help));
                    continue;
                }
            };
            if let Some(problem) = unreachable(node.listen) {
                let at = match written_out.contains(&node.role) {
                    true => [&at[..], &["listen".to_owned()]].concat(),
                    false => path(&["nodes", "host"]),
                };
                wrong(at, problem, "write it like \"127.0.0.1:7001\"".to_owned());
            }
            if let Some(other) = ids.insert(node.id, node) {
                let what = format!(
                    "the number {} is there twice: {} {other}, {} {node}",
                    node.id.0,
                    other.role.article(),
                    node.role.article()
                );
                let help = "every node needs a number of its own, over all roles".to_owned();
                wrong(at.clone(), what, help);
            }
            if let Some(other) = addresses.insert(node.listen, node) {
                let what = format!("{other} and {node} listen at the same address");
                let help = "every node needs an address of its own".to_owned();
                wrong(at, what, help);
            }
        }
        found
    }
}

/// The same nodes, each on a port of this machine that is free now.
pub(super) fn anywhere(nodes: &[NodeAt]) -> std::io::Result<BTreeMap<Role, Listed>> {
    let loopback = || TcpListener::bind("127.0.0.1:0");
    // All held until each has one, so that none is given twice.
    let held: std::io::Result<Vec<TcpListener>> = nodes.iter().map(|_| loopback()).collect();
    let mut placed: BTreeMap<Role, Vec<NodeEntry>> = BTreeMap::new();
    for (node, listener) in nodes.iter().zip(held?) {
        placed.entry(node.role).or_default().push(NodeEntry {
            id: node.id.0,
            listen: listener.local_addr()?.to_string(),
        });
    }
    let placed = placed.into_iter();
    Ok(placed
        .map(|(role, entries)| (role, Listed::Each(entries)))
        .collect())
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
