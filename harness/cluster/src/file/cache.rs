//! Files of rings of cache servers.

mod sections;
#[cfg(test)]
mod tests;

pub use sections::{CacheLevel, CacheLimits, CacheNodes, CacheTiming, Merging};

use super::place::{Group, Layout, Listed, anywhere};
use super::{Kind, NodeAt, Role, path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triptych_load::campaign::{Contradiction, Mistakes, Span, known, read};
use triptych_mesh::Config;

/// What a ring of cache servers is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheFile {
    /// What the file is about.
    pub kind: Kind,
    /// The ring's name. Nodes of clusters with different names do not speak to each other.
    #[schemars(schema_with = "known::id")]
    pub name: String,
    /// What "acknowledged" means for a write.
    pub level: CacheLevel,
    /// At level `replicated`: how many further servers have received a write before it is
    /// acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 98))]
    pub replicas: Option<u16>,
    /// What becomes of concurrent changes of a document.
    #[serde(default)]
    pub merging: Merging,
    /// Whether servers apply what is known to be everywhere although nobody has asked them for it.
    /// Without that, as in the published protocol, a write is seen at one server, and elsewhere by
    /// those who depend on it, until it is written to the database.
    #[serde(default = "yes")]
    pub disseminate: bool,
    /// The folder of the nodes' stores, log files and process ids; by default
    /// `triptych-out/cluster-NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The nodes, and where they listen.
    pub nodes: CacheNodes,
    /// When things happen.
    #[serde(default)]
    pub timing: CacheTiming,
    /// What bounds the servers' memory.
    #[serde(default)]
    pub limits: CacheLimits,
}

fn yes() -> bool {
    true
}

impl CacheFile {
    /// Reads a file. `file` is what messages call it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str, text: &str) -> Result<CacheFile, Mistakes> {
        read(file, text, &Kind::Cache.schema(), CacheFile::contradictions)
    }

    /// All nodes: the servers in the order of the file, which is that of the ring, and the database.
    pub fn nodes(&self) -> Vec<NodeAt> {
        self.layout().nodes()
    }

    /// The cache servers, in the order of the ring.
    pub fn servers(&self) -> Vec<NodeAt> {
        let mut nodes = self.nodes();
        nodes.retain(|node| node.role == Role::Cache);
        nodes
    }

    /// The name under which its nodes know each other: never that of a log's.
    pub fn spoken_name(&self) -> String {
        // No name in a file has a slash.
        format!("cache/{}", self.name)
    }

    /// What all servers agree on.
    pub fn config(&self) -> Config {
        Config {
            servers: self.servers().iter().map(|node| node.id).collect(),
            level: self.level.level(),
            replicas: self.replicas.unwrap_or(1),
            backed: self.nodes.databases.is_some(),
            compat: self.merging == Merging::LastWriterWins,
            timing: self.timing.timing(self.disseminate),
            limits: self.limits.limits(),
        }
    }

    /// A number that two files share if their nodes can work together on the same data: it depends
    /// on the name, the level, how changes merge and whether there is a database, not on addresses,
    /// times and which servers there may be.
    pub fn identity(&self) -> u64 {
        let Config {
            level,
            replicas,
            backed,
            compat,
            ..
        } = self.config();
        let name = self.name.bytes().map(u64::from);
        let rest = [
            level as u64,
            u64::from(replicas),
            u64::from(backed),
            u64::from(compat),
        ];
        let parts = name.chain([u64::MAX]).chain(rest);
        parts.fold(0x6361_6368_6573_3031, triptych_world::mix)
    }

    /// What data belongs to, in words.
    pub fn described(&self) -> String {
        let replicas = match self.level {
            CacheLevel::Replicated => format!(" to {}", self.replicas.unwrap_or(1)),
            CacheLevel::Async | CacheLevel::Synced => String::new(),
        };
        let backed = match self.nodes.databases {
            Some(_) => "with a database",
            None => "without a database",
        };
        format!(
            "`{}` (a cache, {}{replicas}, {}, {backed})",
            self.name,
            self.level.name(),
            self.merging.name()
        )
    }

    /// Gives every node a port of this machine that is free now, and keeps its number.
    ///
    /// # Errors
    /// If the system gives no more ports.
    pub fn place_anywhere(&mut self) -> std::io::Result<()> {
        let mut placed = anywhere(&self.nodes())?;
        let servers = placed.remove(&Role::Cache);
        self.nodes = CacheNodes {
            servers: servers.unwrap_or(Listed::Each(Vec::new())),
            databases: placed.remove(&Role::Database),
            base_port: None,
            host: self.nodes.host.clone(),
        };
        Ok(())
    }

    fn layout(&self) -> Layout<'_> {
        let nodes = &self.nodes;
        let servers = Group {
            role: Role::Cache,
            key: "servers",
            listed: &nodes.servers,
        };
        let database = nodes.databases.as_ref().map(|listed| Group {
            role: Role::Database,
            key: "databases",
            listed,
        });
        Layout {
            host: &nodes.host,
            base_port: nodes.base_port,
            groups: [servers].into_iter().chain(database).collect(),
        }
    }

    /// What does not fit together.
    fn contradictions(&self) -> Vec<Contradiction> {
        if self.kind != Kind::Cache {
            return vec![super::other_kind(self.kind, Kind::Cache)];
        }
        let mut found = self.layout().contradictions();
        let wrong = self.numbers().into_iter().chain(self.unusable());
        for (path, what, help) in wrong {
            let help = vec![help];
            found.push(Contradiction { path, what, help });
        }
        if found.is_empty()
            && let Err(error) = self.config().check()
        {
            found.push(Contradiction {
                path: path(&["nodes", "servers"]),
                what: error.to_string(),
                help: Vec::new(),
            });
        }
        found
    }

    /// Numbers of nodes that nothing works with.
    fn numbers(&self) -> Vec<(Vec<String>, String, String)> {
        let mut wrong = Vec::new();
        let servers = self.nodes.servers.count();
        if servers < 2 {
            let what = "one server is no ring: nobody has what it has".to_owned();
            let help = "at least 2 servers; 3 are best to begin with".to_owned();
            wrong.push((path(&["nodes", "servers"]), what, help));
        }
        let databases = self.nodes.databases.as_ref().map_or(0, Listed::count);
        if databases > 1 {
            let what = format!("there are {databases} databases, but a ring has one");
            let help = "at most 1; without any, no server may fail".to_owned();
            wrong.push((path(&["nodes", "databases"]), what, help));
        }
        let Some(replicas) = self.replicas else {
            return wrong;
        };
        let further = servers.saturating_sub(1);
        if self.level != CacheLevel::Replicated {
            let what = format!(
                "`replicas` means nothing at level `{}`, where nobody waits for further servers",
                self.level.name()
            );
            let help = "leave it out, or choose the level `replicated`".to_owned();
            wrong.push((path(&["replicas"]), what, help));
        } else if usize::from(replicas) > further && servers > 1 {
            let what = format!(
                "`replicas` is {replicas}, but beside the one that accepts a write there are only \
                 {further} servers"
            );
            let help = format!(
                "at most {further}, or more servers in [nodes] (one more than `replicas` and the one \
                 that accepts lets the ring go on when one fails)"
            );
            wrong.push((path(&["replicas"]), what, help));
        }
        wrong
    }

    /// Times that nothing works with.
    fn unusable(&self) -> Vec<(Vec<String>, String, String)> {
        let mut wrong = Vec::new();
        for (key, span) in self.timing.spans() {
            if span.0 == 0 {
                let what = format!("`{key}` of {span} is no time at all");
                let help = "write it like \"5ms\" or \"1s\"".to_owned();
                wrong.push((path(&["timing", key]), what, help));
            }
        }
        let CacheTiming {
            alive_every,
            lease,
            dead_after,
            ..
        } = self.timing;
        let least = Span(alive_every.0.saturating_mul(2));
        if lease < least {
            let what = format!(
                "`lease` of {lease} ends before the neighbours are heard of, which is every {alive_every}"
            );
            let help = format!("at least {least}, twice `alive_every`");
            wrong.push((path(&["timing", "lease"]), what, help));
        }
        if dead_after <= lease {
            let what = format!(
                "`dead_after` of {dead_after} takes a server for dead that may still serve, for a \
                 lease of {lease}"
            );
            let help = "more than `lease`".to_owned();
            wrong.push((path(&["timing", "dead_after"]), what, help));
        }
        wrong
    }
}
