//! Files of the shared log's clusters.

mod sections;
#[cfg(test)]
mod tests;

pub use sections::{LevelName, LimitsSection, Nodes, ShapeSection, TimingSection};

use super::place::{Group, Layout, Listed, anywhere};
use super::{Kind, NodeAt, Role, path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triptych_load::campaign::{Contradiction, Mistakes, Span, known, read};
use triptych_log::Config;
use triptych_nodes::NodeId;

/// What a cluster of the log is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// What the file is about.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: Kind,
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

fn is_default(kind: &Kind) -> bool {
    *kind == Kind::default()
}

impl LogFile {
    /// Reads a file. `file` is what messages call it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str, text: &str) -> Result<LogFile, Mistakes> {
        read(file, text, &Kind::Log.schema(), LogFile::contradictions)
    }

    /// All nodes: controllers, sequencers, storages, engines, each in the order of the file.
    pub fn nodes(&self) -> Vec<NodeAt> {
        self.layout().nodes()
    }

    /// The nodes of a role.
    pub fn of(&self, role: Role) -> Vec<NodeAt> {
        let mut nodes = self.nodes();
        nodes.retain(|node| node.role == role);
        nodes
    }

    /// What all nodes agree on.
    pub fn config(&self) -> Config {
        let of = |role| -> Vec<NodeId> { self.of(role).iter().map(|node| node.id).collect() };
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

    /// What data belongs to, in words.
    pub fn described(&self) -> String {
        let shape = &self.shape;
        format!(
            "`{}` ({}, {} log{}, {} metas, {} copies, {} indexes)",
            self.name,
            self.level.name(),
            shape.logs,
            if shape.logs == 1 { "" } else { "s" },
            shape.metas,
            shape.copies,
            shape.indexes
        )
    }

    /// Gives every node a port of this machine that is free now, and keeps its number.
    ///
    /// # Errors
    /// If the system gives no more ports.
    pub fn place_anywhere(&mut self) -> std::io::Result<()> {
        let mut placed = anywhere(&self.nodes())?;
        let mut of = |role| placed.remove(&role).unwrap_or(Listed::Each(Vec::new()));
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

    fn layout(&self) -> Layout<'_> {
        let nodes = &self.nodes;
        let groups = [
            (Role::Controller, "controllers", &nodes.controllers),
            (Role::Sequencer, "sequencers", &nodes.sequencers),
            (Role::Storage, "storages", &nodes.storages),
            (Role::Engine, "engines", &nodes.engines),
        ];
        Layout {
            host: &nodes.host,
            base_port: nodes.base_port,
            groups: groups
                .map(|(role, key, listed)| Group { role, key, listed })
                .into(),
        }
    }

    /// What does not fit together.
    fn contradictions(&self) -> Vec<Contradiction> {
        if self.kind != Kind::Log {
            return vec![super::other_kind(self.kind, Kind::Log)];
        }
        let mut found = self.layout().contradictions();
        for (path, what, help) in self.too_few().into_iter().chain(self.unusable()) {
            let help = vec![help];
            found.push(Contradiction { path, what, help });
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
            ("metas", metas, Role::Sequencer, &self.nodes.sequencers),
            ("copies", copies, Role::Storage, &self.nodes.storages),
            ("indexes", indexes, Role::Engine, &self.nodes.engines),
        ];
        let few = wanted.into_iter().filter_map(|(key, wanted, role, listed)| {
            let have = listed.count();
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
