//! The next view, from the ones before and from who lives.
//!
//! A pure function, so that a plan can be tested without a cluster. Whoever lives in the life that
//! the current view names keeps its place; a place that became free goes to somebody who is new, or
//! else to the last of the list, so that only one moves: primaries and shards stay where they are as
//! far as they can.

use crate::{Config, Final, Level, Member, View, ViewId};
use std::collections::BTreeMap;
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
    let mut holders = BTreeMap::new();
    if let Some(current) = views.last() {
        let mut copies = Copies::new(config, views, &roles.storages, alive);
        for (&view, of) in &current.holders {
            let of = of.iter();
            let of = of.map(|(&engine, old)| (engine, copies.holders(view, engine, old)));
            holders.insert(view, of.collect());
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

/// Decides who keeps the records of earlier views.
struct Copies<'a> {
    level: Level,
    wanted: usize,
    views: &'a [Arc<View>],
    storages: &'a [Member],
    alive: &'a Alive,
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
        Copies {
            level: config.level,
            wanted: usize::from(config.shape.copies),
            views,
            storages,
            alive,
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
    /// that it is done.
    fn has_all(&self, view: ViewId, engine: NodeId, node: NodeId) -> bool {
        let Some(living) = self.alive.get(&node) else {
            return false;
        };
        let first = usize::from(view).saturating_sub(1);
        let had = self.views.get(first).is_some_and(|at| {
            let same = self.life_in(node, std::slice::from_ref(at)) == Some(living.life);
            at.holders(view, engine).contains(&node) && (same || self.level == Level::Synced)
        });
        let since = self.views.get(first..).unwrap_or_default().iter();
        let mut done = since.filter(|at| at.id <= living.complete);
        had || done.any(|at| at.holders(view, engine).contains(&node))
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
        if nobody {
            // Some of the records may be with the dead alone: whoever copies asks them again when
            // they come back.
            let dead = old.iter().copied();
            let dead: Vec<NodeId> = dead.filter(|node| !holders.contains(node)).collect();
            holders.extend(dead);
        }
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::controller::testing::view;

    const SHAPE: Shape = Shape {
        logs: 2,
        metas: 3,
        copies: 2,
        indexes: 2,
    };

    fn config() -> Config {
        Config::of(3, 4, 4, 4, SHAPE)
    }

    /// All nodes, in their first lives.
    fn all() -> Alive {
        let config = config();
        let roles = [&config.sequencers, &config.storages, &config.engines];
        let living = Living {
            life: 1,
            complete: 1,
        };
        let nodes = roles.into_iter().flatten();
        nodes.map(|&node| (node, living)).collect()
    }

    fn numbers(members: &[Member]) -> Vec<u16> {
        members.iter().map(|member| member.node.0).collect()
    }

    fn plan(config: &Config, views: &[Arc<View>], alive: &Alive) -> View {
        let current = views.last().map(|view| &**view);
        let roles = roles(config, current, alive).expect("enough live");
        next(config, views, roles, alive, Vec::new()).expect("there are numbers left")
    }

    fn kept(view: &View, of: ViewId, engine: u16) -> Vec<u16> {
        let holders = view.holders(of, NodeId(engine)).iter();
        holders.map(|node| node.0).collect()
    }

    #[test]
    fn the_first_view_has_everybody_in_the_configured_order() {
        let first = plan(&config(), &[], &all());
        assert_eq!(first, view(SHAPE, 4, 4, 4));
    }

    #[test]
    fn a_free_place_goes_to_a_new_node_or_to_the_last() {
        let views = [Arc::new(view(SHAPE, 4, 3, 4))];
        let mut alive = all();
        alive.remove(&NodeId(101));
        alive.remove(&NodeId(200));
        alive.remove(&NodeId(1003));
        let second = plan(&config(), &views, &alive);
        assert_eq!(numbers(&second.sequencers), [100, 103, 102]);
        assert_eq!(numbers(&second.storages), [203, 201, 202]);
        assert_eq!(numbers(&second.engines), [1000, 1001, 1002]);
        assert_eq!(second.id, 2);
    }

    #[test]
    fn several_dead_at_the_end_leave_no_hole() {
        let views = [Arc::new(view(SHAPE, 4, 4, 4))];
        let mut alive = all();
        for dead in [1000, 1003] {
            alive.remove(&NodeId(dead));
        }
        let second = plan(&config(), &views, &alive);
        assert_eq!(numbers(&second.engines), [1002, 1001]);
    }

    #[test]
    fn who_restarts_keeps_its_place_in_a_new_life() {
        let views = [Arc::new(view(SHAPE, 4, 4, 4))];
        let mut alive = all();
        alive.get_mut(&NodeId(101)).expect("configured").life = 2;
        let second = plan(&config(), &views, &alive);
        assert_eq!(numbers(&second.sequencers), [100, 101, 102, 103]);
        assert_eq!(second.sequencers[1].life, 2);
    }

    #[test]
    fn there_is_no_view_with_fewer_than_the_shape_needs() {
        let mut alive = all();
        for dead in [200, 201, 203] {
            alive.remove(&NodeId(dead));
        }
        let shortage = roles(&config(), None, &alive).expect_err("one storage is not two");
        let line = "2 storages are needed for a view, and 1 live";
        assert_eq!(shortage.to_string(), line);
    }

    #[test]
    fn what_the_dead_kept_is_copied_and_spread() {
        // Engines 1000 to 1003 are kept by (200, 201), (202, 203), (200, 201), (202, 203).
        let views = [Arc::new(view(SHAPE, 4, 4, 4))];
        let mut alive = all();
        alive.remove(&NodeId(200));
        let second = plan(&config(), &views, &alive);
        assert_eq!(kept(&second, 1, 1001), [202, 203]);
        let copies = [kept(&second, 1, 1000), kept(&second, 1, 1002)];
        assert_eq!(copies, [[201, 203], [201, 202]], "in the order of places");
        // It is not undone when the dead one comes back, without its memory or with it.
        for life in [1, 2] {
            let views = [Arc::clone(&views[0]), Arc::new(second.clone())];
            let mut alive = all();
            alive.get_mut(&NodeId(200)).expect("configured").life = life;
            let third = plan(&config(), &views, &alive);
            assert_eq!(kept(&third, 1, 1000), [201, 203]);
        }
    }

    #[test]
    fn a_restarted_storage_holds_on_only_if_memory_survives() {
        let views = [Arc::new(view(SHAPE, 4, 4, 4))];
        let mut alive = all();
        alive.get_mut(&NodeId(201)).expect("configured").life = 2;
        let synced = Config {
            level: Level::Synced,
            ..config()
        };
        let second = plan(&synced, &views, &alive);
        assert_eq!(kept(&second, 1, 1000), [200, 201]);
        let second = plan(&config(), &views, &alive);
        assert_eq!(kept(&second, 1, 1000), [200, 201], "it may copy, too");
        // But what nobody else has is not known to be there.
        alive.remove(&NodeId(200));
        let second = plan(&config(), &views, &alive);
        assert_eq!(kept(&second, 1, 1000), [203, 201, 200]);
        let second = plan(&synced, &views, &alive);
        assert_eq!(kept(&second, 1, 1000), [201, 203]);
    }

    #[test]
    fn the_dead_are_kept_in_mind_until_a_living_holder_is_complete() {
        let mut views = vec![Arc::new(view(SHAPE, 4, 4, 4))];
        let mut alive = all();
        alive.remove(&NodeId(200));
        views.push(Arc::new(plan(&config(), &views, &alive)));
        // 203 copies from 201, which dies before it is done.
        assert_eq!(kept(&views[1], 1, 1000), [201, 203]);
        alive.remove(&NodeId(201));
        let early = plan(&config(), &views, &alive);
        assert_eq!(kept(&early, 1, 1000), [203, 202, 201]);
        // Or when it is done.
        alive.get_mut(&NodeId(203)).expect("configured").complete = 2;
        let late = plan(&config(), &views, &alive);
        assert_eq!(kept(&late, 1, 1000), [203, 202]);
        // What was kept in mind is asked for again when it is back, in the same life.
        views.push(Arc::new(early));
        alive = all();
        let back = plan(&config(), &views, &alive);
        assert_eq!(kept(&back, 1, 1000), [201, 203, 202]);
    }

    #[test]
    fn views_run_out_after_the_last_number() {
        let mut last = view(SHAPE, 4, 4, 4);
        last.id = ViewId::MAX;
        let views = [Arc::new(last)];
        let (config, alive) = (config(), all());
        let roles = roles(&config, Some(&views[0]), &alive).expect("enough live");
        let none = next(&config, &views, roles, &alive, Vec::new());
        assert_eq!(none, Err(Shortage::Numbers));
    }
}
