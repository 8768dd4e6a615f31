//! A load together with the processor time that it took.

use super::drive::{Call, Driven, Plan, drive};
use super::machine::Process;
use crate::file::NodeAt;
use crate::up::folder::DataFolder;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use triptych_load::pool::Cancel;
use triptych_world::World;

/// What a load came to, and what it took.
#[derive(Debug)]
pub struct Timed {
    /// Every request.
    pub driven: Driven,
    /// Processor time of the nodes while it was measured, in seconds; none if they do not run here.
    pub nodes_cpu: Option<f64>,
    /// Processor time of the generator, in seconds.
    pub own_cpu: f64,
}

/// Seconds of processor time so far: of the nodes, if they can be seen, and of this process.
type Mark = (Option<f64>, f64);

/// The processes of some nodes, if all of them run here: of some of them, a sum would be of no use.
pub fn processes(folder: &DataFolder, nodes: &[NodeAt]) -> Option<Vec<Process>> {
    nodes.iter().map(|node| folder.process(node)).collect()
}

/// Runs a load with a look at the clocks of the processor, before and after what is measured.
pub async fn timed(
    world: &World,
    nodes: Option<Vec<Process>>,
    calls: &[Call],
    plan: Plan,
    cancel: &Arc<Cancel>,
) -> Timed {
    let own = Process::own();
    let marks: Rc<RefCell<Vec<Mark>>> = Rc::default();
    let seen = Rc::clone(&marks);
    let mark = move || {
        let of = |processes: &Vec<Process>| processes.iter().map(Process::cpu).sum();
        let nodes = nodes.as_ref().and_then(of);
        let own = own.and_then(|own| own.cpu()).unwrap_or(0.0);
        seen.borrow_mut().push((nodes, own));
    };
    let driven = drive(world, calls, plan, 0, cancel, mark).await;
    let marks = marks.borrow();
    let (nodes_cpu, own_cpu) = match (marks.first(), marks.last()) {
        (Some(before), Some(after)) => {
            let nodes = after.0.zip(before.0).map(|(after, before)| after - before);
            (nodes, after.1 - before.1)
        }
        _ => (None, 0.0),
    };
    Timed {
        driven,
        nodes_cpu,
        own_cpu,
    }
}
