//! The next view, from the ones before and from who lives.
//!
//! A pure function, so that a plan can be tested without a cluster. Whoever lives in the life that
//! the current view names keeps its place; a place that became free goes to somebody who is new, or
//! else to the last of the list, so that only one moves: primaries and shards stay where they are as
//! far as they can.

use crate::view::{Holders, overlay};
use crate::{Config, Entry, Final, Level, Member, Step, View, ViewId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_nodes::NodeId;

/// A node that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    /// In which of its lives.
    pub life: u32,
    /// Of a storage: the newest view in which it has copies of all records that it is to hold.
    pub complete: ViewId,
}

/// Who lives.
pub type Alive = BTreeMap<NodeId, Living>;

/// Why there is no next view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// Too few live.
    #[error("{wanted} {role} are needed for a view, and {have} live")]
    Nodes {
        /// Of what.
        role: &'static str,
        /// How many are needed.
        wanted: usize,
        /// How many live.
        have: usize,
    },
    /// Views are numbered with 16 bits.
    #[error("there are no more numbers for views")]
    Numbers,
}

/// Who is in the next view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Sequencers.
    pub sequencers: Vec<Member>,
    /// Storages.
    pub storages: Vec<Member>,
    /// Engines.
    pub engines: Vec<Member>,
}

/// Who is in the view after `current`.
///
/// # Errors
/// If too few live for a view of the cluster's shape.
pub fn roles(config: &Config, current: Option<&View>, alive: &Alive) -> Result<Roles, Shortage> {
    let shape = config.shape;
    let before = |of: fn(&View) -> &Vec<Member>| current.map_or(&[][..], |view| of(view));
    let enough = |role, wanted: u16, members: Vec<Member>| {
        let (wanted, have) = (usize::from(wanted), members.len());
        if have < wanted {
            return Err(Shortage::Nodes { role, wanted, have });
        }
        Ok(members)
    };
    let sequencers = places(before(|view| &view.sequencers), &config.sequencers, alive);
    let storages = places(before(|view| &view.storages), &config.storages, alive);
    let engines = places(before(|view| &view.engines), &config.engines, alive);
    Ok(Roles {
        sequencers: enough("sequencers", shape.metas, sequencers)?,
        storages: enough("storages", shape.copies, storages)?,
        engines: enough("engines", shape.indexes, engines)?,
    })
}

/// Everybody of a role who lives, with as few changes of place as possible.
fn places(before: &[Member], configured: &[NodeId], alive: &Alive) -> Vec<Member> {
    let now = |node: NodeId| {
        let living = alive.get(&node)?;
        let life = living.life;
        Some(Member { node, life })
    };
    let stays = before.iter().map(|member| now(member.node));
    let mut places: Vec<Option<Member>> = stays.collect();
    let is_new = |node: &&NodeId| before.iter().all(|member| member.node != **node);
    let mut new = configured.iter().filter(is_new).copied().filter_map(now);
    for place in places.iter_mut().filter(|place| place.is_none()) {
        *place = new.next();
    }
    places.extend(new.map(Some));
    let mut place = 0;
    while place < places.len() {
        if places[place].is_none() {
            // The last who lives, if any lives behind.
            places.swap_remove(place);
        } else {
            place += 1;
        }
    }
    places.into_iter().flatten().collect()
}

/// The view after the last of `views` (all there were, from the first on), with these members and in
/// which the logs of the last one ended so.
///
/// # Errors
/// If there are no more numbers.
pub fn next(
    config: &Config,
    views: &[Arc<View>],
    roles: Roles,
    alive: &Alive,
    finals: Vec<Final>,
) -> Result<View, Shortage> {
    let before = views.last().map_or(0, |view| view.id);
    let id = before.checked_add(1).ok_or(Shortage::Numbers)?;
    let mut holders = Holders::new();
    if let Some(current) = views.last() {
        let mut copies = Copies::new(config, views, &roles.storages, alive);
        let known = std::mem::take(&mut copies.known);
        for (&view, of) in &known {
            for (&engine, old) in of {
                let new = match view == before && is_empty(current, engine, &finals) {
                    true => Vec::new(),
                    false => copies.holders(view, engine, old),
                };
                if new != *old {
                    holders.entry(view).or_default().insert(engine, new);
                }
            }
        }
    }
    let own = roles.engines.iter().enumerate().map(|(place, engine)| {
        let copies = config.shape.copies;
        (engine.node, View::assign(&roles.storages, place, copies))
    });
    holders.insert(id, own.collect());
    Ok(View {
        id,
        shape: config.shape,
        sequencers: roles.sequencers,
        storages: roles.storages,
        engines: roles.engines,
        finals,
        holders,
    })
}

/// Whether nothing of an engine is ordered in a view that has ended so: then there is nothing to keep.
fn is_empty(view: &View, engine: NodeId, finals: &[Final]) -> bool {
    let place = view.engine(engine);
    let orders = |entry: &Arc<Entry>| match &entry.step {
        Step::Cut { deltas, .. } => place.and_then(|at| deltas.get(at)) != Some(&0),
        Step::Trim(_) | Step::Release { .. } => false,
    };
    finals.len() == usize::from(view.shape.logs)
        && finals.iter().all(|end| {
            // If there is more than the tail, it may be among that.
            end.tail.len() as u64 == u64::from(end.entries) && !end.tail.iter().any(orders)
        })
}

/// Engines by earlier view whose records perhaps nobody has wholly any more: all who had to have them
/// have begun new lives without their memory, and of those who keep them in the next view each lives
/// and none has said that it has all. What is left on disks is copied; but if something is missing, no
/// new index of the log can be made.
pub fn perhaps_lost(
    config: &Config,
    views: &[Arc<View>],
    alive: &Alive,
    next: &View,
) -> BTreeMap<ViewId, Vec<NodeId>> {
    let mut lost: BTreeMap<ViewId, Vec<NodeId>> = BTreeMap::new();
    let copies = Copies::new(config, views, &next.storages, alive);
    let mut known = copies.known.clone();
    overlay(&mut known, next);
    for (&view, of) in known.range(..next.id) {
        let engines = of.iter().filter(|&(&engine, holders)| {
            let away = holders.iter().any(|&node| copies.is_away(node));
            let whole = |&node: &NodeId| copies.has_all(view, engine, node);
            !away && !holders.iter().any(whole) && copies.have_restarted(view, engine)
        });
        let engines: Vec<NodeId> = engines.map(|(&engine, _)| engine).collect();
        if !engines.is_empty() {
            lost.insert(view, engines);
        }
    }
    lost
}

/// Decides who keeps the records of earlier views.
struct Copies<'a> {
    level: Level,
    wanted: usize,
    views: &'a [Arc<View>],
    storages: &'a [Member],
    alive: &'a Alive,
    /// Who keeps what, in the last of the views.
    known: Holders,
    /// What each storage surely has, because it has said that it is complete: of which views and
    /// engines it is to have copies in the one view that it names.
    copied: BTreeMap<NodeId, BTreeSet<(ViewId, NodeId)>>,
    /// How many shards' records each storage was given to copy.
    given: BTreeMap<NodeId, usize>,
}

impl<'a> Copies<'a> {
    fn new(
        config: &Config,
        views: &'a [Arc<View>],
        storages: &'a [Member],
        alive: &'a Alive,
    ) -> Self {
        let mut known = Holders::new();
        let mut copied: BTreeMap<NodeId, BTreeSet<(ViewId, NodeId)>> = BTreeMap::new();
        for at in views {
            overlay(&mut known, at);
            for (&node, _) in alive.iter().filter(|(_, it)| it.complete == at.id) {
                let before = known.range(..at.id);
                let all = before.flat_map(|(&view, of)| of.iter().map(move |it| (view, it)));
                let its = all.filter(|(_, (_, nodes))| nodes.contains(&node));
                copied.insert(
                    node,
                    its.map(|(view, (&engine, _))| (view, engine)).collect(),
                );
            }
        }
        Copies {
            level: config.level,
            wanted: usize::from(config.shape.copies),
            views,
            storages,
            alive,
            known,
            copied,
            given: BTreeMap::new(),
        }
    }

    /// Whether a storage that lives has what it had when it was last in a view.
    fn remembers(&self, node: NodeId) -> bool {
        let Some(living) = self.alive.get(&node) else {
            return false;
        };
        self.level == Level::Synced || self.life_in(node, self.views) == Some(living.life)
    }

    /// In which life a storage was in the last of some views that names it.
    fn life_in(&self, node: NodeId, views: &[Arc<View>]) -> Option<u32> {
        let members = views.iter().rev();
        let mut members = members.flat_map(|view| &view.storages);
        let named = members.find(|member| member.node == node)?;
        Some(named.life)
    }

    /// Whether a storage surely has all records of an engine in a view: because it was among those
    /// who had to have them before they were ordered, or because it was to copy them, and has said
    /// that it is done. What it says is about the one view that it names: there it has all that it is
    /// to hold of the views before. It says nothing about that view's own records, nor about what it
    /// was to hold in another view, perhaps for too short a time to copy it.
    fn has_all(&self, view: ViewId, engine: NodeId, node: NodeId) -> bool {
        let Some(living) = self.alive.get(&node) else {
            return false;
        };
        let at = usize::from(view).checked_sub(1);
        let had = at.and_then(|at| self.views.get(at)).is_some_and(|at| {
            let same = self.life_in(node, std::slice::from_ref(at)) == Some(living.life);
            at.holders(view, engine).contains(&node) && (same || self.level == Level::Synced)
        });
        let copied = self.copied.get(&node);
        had || copied.is_some_and(|of| of.contains(&(view, engine)))
    }

    /// Whether a storage may have more than is known, because it is away, and may come back with its
    /// memory: nobody has heard of the life that it was last known to live, nor of a later one.
    fn is_away(&self, node: NodeId) -> bool {
        let now = self.alive.get(&node).map(|living| living.life);
        now.is_none() || now < self.life_in(node, self.views)
    }

    /// Whether all who had to have the records of an engine before they were ordered are known to have
    /// lost their memory since.
    fn have_restarted(&self, view: ViewId, engine: NodeId) -> bool {
        let at = usize::from(view).checked_sub(1);
        let Some(at) = at.and_then(|at| self.views.get(at)) else {
            return false;
        };
        let mut holders = at.holders(view, engine).iter();
        self.level == Level::Memory
            && holders.all(|&node| {
                let now = self.alive.get(&node).map(|living| living.life);
                now > self.life_in(node, std::slice::from_ref(at))
            })
    }

    fn holders(&mut self, view: ViewId, engine: NodeId, old: &[NodeId]) -> Vec<NodeId> {
        let stay = old.iter().copied().filter(|&node| self.remembers(node));
        let stay: Vec<NodeId> = stay.collect();
        let complete = stay.iter().copied();
        let complete: Vec<NodeId> = complete
            .filter(|&node| self.has_all(view, engine, node))
            .collect();
        if complete.len() >= self.wanted {
            return complete[..self.wanted].to_vec();
        }
        // Those who have everything stand first, because that is where reads go first.
        let nobody = complete.is_empty();
        let mut holders = complete;
        for node in stay {
            if !holders.contains(&node) {
                holders.push(node);
            }
        }
        while holders.len() < self.wanted {
            let free = self.storages.iter().map(|member| member.node);
            let free = free.filter(|node| !holders.contains(node));
            let least = free.min_by_key(|node| self.given.get(node).copied().unwrap_or(0));
            let Some(node) = least else {
                break;
            };
            *self.given.entry(node).or_default() += 1;
            holders.push(node);
        }
        // Too few are known to have everything. Some of the records may be with those who are away,
        // and whoever is to copy from the others may fail before it has: so nobody who may have them
        // is forgotten until enough others surely do. Whoever copies asks them when they come back.
        // Who lives and has lost its memory is asked only if there is nobody else.
        for &node in old {
            if !holders.contains(&node) && (nobody || self.is_away(node)) {
                holders.push(node);
            }
        }
        holders
    }
}

#[cfg(test)]
mod tests;
