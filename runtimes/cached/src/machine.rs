//! Workflows that the platform runs: contexts are joined over the edges of the graph.
//!
//! A workflow has two calls more than the app's, both to the function of its first node: *begin*,
//! before all others, begins the attempt with what the session knows; *commit*, after all others, ends
//! it. A node begins with what those before it carried at their ends. The platform's graph is fixed,
//! so an attempt that is aborted is not made again here: the client is told.

use crate::Shared;
use crate::envelope::{Carried, Encoded, Envelope, Load, read_part};
use crate::system::{Attempt, System};
use std::rc::Rc;
use triptych_api::{Name, Value, Workflow, decode_reply, node_id};
use triptych_faas::{Flow, Machine, Select, Task};

/// The entry point that begins the attempt of a workflow.
pub(crate) const BEGIN: &str = "cached.begin";
/// The entry point that ends it.
pub(crate) const COMMIT: &str = "cached.commit";

/// What the machine was started with.
fn request(flow: &Flow<'_>) -> Option<Envelope> {
    Envelope::try_from(flow.start).ok()
}

/// A task's reply, without what it carried.
fn reply<'a>(flow: &'a Flow<'_>, task: usize) -> Option<&'a Value> {
    flow.reply(task)?.get("reply")
}

/// What *begin* has made: it is the first task.
fn attempt(flow: &Flow<'_>) -> Option<Attempt> {
    let root = decode_reply(reply(flow, 0)?).ok()?.as_int()? as u64;
    Some(Attempt { root, number: 0 })
}

/// What all of some tasks carried at their ends.
fn carried<S: System>(shared: &Shared<S>, flow: &Flow<'_>, tasks: &[usize]) -> Option<Encoded> {
    let mut all: Option<Carried<S::Context>> = None;
    for &task in tasks {
        let Some(body) = flow.reply(task) else {
            continue;
        };
        let (_, encoded) = read_part(body).ok()?;
        let branch: Carried<S::Context> = Carried::decode(&encoded).ok()?;
        match &mut all {
            None => all = Some(branch),
            Some(all) => {
                all.rest.join(branch.rest);
                shared.system.join(&mut all.context, branch.context);
            }
        }
    }
    all?.encode().ok()
}

/// The machine that a workflow is.
pub(crate) fn of<S: System>(shared: &Rc<Shared<S>>, workflow: &Workflow) -> Machine {
    let workflow = Rc::new(workflow.clone());
    let Some(host) = workflow.nodes.first().map(|node| node.function.clone()) else {
        // Nothing to call, nothing to answer.
        let answer: Select = Rc::new(|_| None);
        return Machine {
            tasks: Vec::new(),
            answer,
        };
    };
    let begin = Task {
        function: host.clone(),
        after: Vec::new(),
        input: Rc::new(|flow| {
            let asked = request(flow)?;
            let instance = node_id(&asked.instance, BEGIN);
            let op = Name::from(BEGIN);
            Some(
                Envelope {
                    instance,
                    op,
                    ..asked
                }
                .into(),
            )
        }),
    };
    let nodes = workflow.nodes.len();
    let calls = (0..nodes).map(|at| call(shared, &workflow, at));
    let commit = commit(shared, &workflow, host);
    let tasks = [begin].into_iter().chain(calls).chain([commit]).collect();
    let answer: Select = Rc::new(move |flow| flow.reply(nodes + 1).cloned());
    Machine { tasks, answer }
}

fn call<S: System>(shared: &Rc<Shared<S>>, workflow: &Rc<Workflow>, at: usize) -> Task {
    let node = &workflow.nodes[at];
    let before = |name: &Name| workflow.nodes.iter().position(|node| node.name == *name);
    let after = node.after.iter().filter_map(before);
    let after: Vec<usize> = [0].into_iter().chain(after.map(|at| at + 1)).collect();
    let (shared, workflow) = (Rc::clone(shared), Rc::clone(workflow));
    Task {
        function: node.function.clone(),
        after: after.clone(),
        input: Rc::new(move |flow| {
            let asked = request(flow)?;
            let id = &asked.instance;
            let outputs = workflow.outputs(|at| reply(flow, at + 1)).ok()?;
            let node = &workflow.nodes[at];
            if !node.after.iter().all(|name| outputs.contains_key(name)) {
                return None;
            }
            let envelope = Envelope {
                instance: node_id(id, &node.name),
                op: node.op.clone(),
                input: (node.input)(id, &asked.input, &outputs),
                home: asked.home,
                load: Load::Part {
                    attempt: attempt(flow)?,
                    tx: workflow.transactional.then(|| id.clone()),
                    carried: carried(&shared, flow, &after)?,
                },
            };
            Some(envelope.into())
        }),
    }
}

/// The last call is told the answer, and what all have seen and done.
fn commit<S: System>(shared: &Rc<Shared<S>>, workflow: &Rc<Workflow>, host: Name) -> Task {
    let (shared, workflow) = (Rc::clone(shared), Rc::clone(workflow));
    let all: Vec<usize> = (0..=workflow.nodes.len()).collect();
    Task {
        function: host,
        after: all.clone(),
        input: Rc::new(move |flow| {
            let asked = request(flow)?;
            let id = &asked.instance;
            let answer = match workflow.outputs(|at| reply(flow, at + 1)) {
                Ok(outputs) => {
                    let output = (workflow.output)(id, &asked.input, &outputs);
                    Value::map([("ok", output)])
                }
                Err(refusal) => refusal,
            };
            let begun = reply(flow, 0)?;
            let answer = match decode_reply(begun) {
                Ok(_) => answer,
                Err(_) => begun.clone(),
            };
            let envelope = Envelope {
                instance: node_id(id, COMMIT),
                op: Name::from(COMMIT),
                input: answer,
                home: asked.home,
                load: Load::Part {
                    attempt: attempt(flow).unwrap_or(Attempt { root: 0, number: 0 }),
                    tx: None,
                    carried: carried(&shared, flow, &all)?,
                },
            };
            Some(envelope.into())
        }),
    }
}
