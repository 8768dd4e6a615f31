//! Workflows: a graph of calls that the platform runs, and what makes one a transaction.
//!
//! Every call is an instance whose id derives from the request's and the node's, so a call that the
//! platform repeats is the same instance. A transactional workflow has two calls more, both to the
//! function of its first node: *begin*, before all others, makes the transaction; *end*, after all
//! others, is told how they ended, decides, and does what the decision means. In between the
//! transaction travels in the data, and once a node has refused, those that have not begun are left
//! out.

use crate::record::{Envelope, Tx};
use crate::run::Run;
use crate::wrapper::reply_with;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use triptych_api::model::{from_value, to_value};
use triptych_api::{Name, Node, Result, Step, Value, Workflow, decode_reply, node_id};
use triptych_faas::{Flow, Machine, Select, Task};

/// The entry point that makes the transaction of a workflow.
pub(crate) const BEGIN: &str = "boki.begin";
/// The entry point that ends it.
pub(crate) const END: &str = "boki.end";

/// What the last call of a transactional workflow is told.
#[derive(Serialize, Deserialize)]
pub(crate) struct End {
    tx: Tx,
    commit: bool,
}

impl End {
    pub(crate) fn of(input: &Value) -> Result<End> {
        Ok(from_value(input)?)
    }

    pub(crate) async fn make(&self, run: &Run) -> Result<Value> {
        let step = Step::new("end");
        run.end_as(&step, &self.tx, self.commit).await?;
        Ok(Value::Null)
    }
}

/// What the machine was started with.
fn request(flow: &Flow<'_>) -> Option<Envelope> {
    from_value(flow.start).ok()
}

/// A task's reply, without what is only for runtimes.
fn reply<'a>(flow: &'a Flow<'_>, task: usize) -> Option<&'a Value> {
    flow.reply(task)?.get("reply")
}

/// How much of the log was seen by any of these tasks, or whoever started the machine.
fn progress(flow: &Flow<'_>, tasks: usize) -> u64 {
    let seen = |task| flow.reply(task)?.get("progress")?.as_int();
    let seen = (0..tasks).filter_map(seen).map(|seen| seen as u64);
    let started = request(flow).map_or(0, |request| request.progress);
    seen.fold(started, u64::max)
}

/// A call of one instance of the workflow.
fn call(
    id: &str,
    part: &str,
    op: &str,
    input: Value,
    tx: Option<Tx>,
    progress: u64,
) -> Option<Value> {
    let envelope = Envelope {
        instance: node_id(id, part),
        op: Name::from(op),
        input,
        caller: None,
        tx,
        registered: false,
        progress,
    };
    to_value(&envelope).ok()
}

/// The machine of a workflow.
pub(crate) fn of(workflow: &Workflow) -> Machine {
    let workflow = Rc::new(workflow.clone());
    let nodes = &workflow.nodes;
    // Where the nodes' tasks begin.
    let first = usize::from(workflow.transactional && !nodes.is_empty());
    let all = nodes.len() + first;
    let mut tasks = Vec::new();
    let host = nodes.first().map(|node| node.function.clone());
    let host = host.filter(|_| workflow.transactional);
    if let Some(host) = &host {
        tasks.push(Task {
            function: host.clone(),
            after: Vec::new(),
            input: Rc::new(|flow| {
                let id = request(flow)?.instance;
                call(&id, BEGIN, BEGIN, Value::Null, None, progress(flow, 0))
            }),
        });
    }
    for at in 0..nodes.len() {
        tasks.push(task(Rc::clone(&workflow), at, first));
    }
    if let Some(host) = host {
        tasks.push(end(host, Rc::clone(&workflow), all));
    }
    let answer: Select = Rc::new(move |flow| {
        let started = request(flow)?;
        let (id, input) = (&started.instance, &started.input);
        let answer = match workflow.outputs(|at| reply(flow, at + first)) {
            Ok(outputs) => Value::map([("ok", (workflow.output)(id, input, &outputs))]),
            Err(refusal) => refusal,
        };
        Some(reply_with(answer, progress(flow, all + first)))
    });
    Machine { tasks, answer }
}

fn task(workflow: Rc<Workflow>, at: usize, first: usize) -> Task {
    let nodes = &workflow.nodes;
    let before = |name: &Name| nodes.iter().position(|node: &Node| node.name == *name);
    let after = nodes[at].after.iter().filter_map(before);
    let after = (0..first).chain(after.map(|at| at + first)).collect();
    Task {
        function: nodes[at].function.clone(),
        after,
        input: Rc::new(move |flow| {
            let started = request(flow)?;
            let (id, input) = (&started.instance, &started.input);
            let outputs = workflow.outputs(|at| reply(flow, at + first)).ok()?;
            let node = &workflow.nodes[at];
            if !node.after.iter().all(|name| outputs.contains_key(name)) {
                return None;
            }
            let input = (node.input)(id, input, &outputs);
            let (tx, seen) = (transaction(first, flow), progress(flow, at + first));
            call(id, &node.name, &node.op, input, tx, seen)
        }),
    }
}

/// What *begin* has made.
fn transaction(first: usize, flow: &Flow<'_>) -> Option<Tx> {
    let begun = reply(flow, first.checked_sub(1)?)?;
    from_value(&decode_reply(begun).ok()?).ok()
}

/// How the nodes ended is the same whenever the platform asks, because every reply is: so is the
/// decision.
fn end(host: Name, workflow: Rc<Workflow>, tasks: usize) -> Task {
    Task {
        function: host,
        after: (0..tasks).collect(),
        input: Rc::new(move |flow| {
            let id = request(flow)?.instance;
            let end = End {
                tx: transaction(1, flow)?,
                commit: workflow.outputs(|at| reply(flow, at + 1)).is_ok(),
            };
            let input = to_value(&end).ok()?;
            call(&id, END, END, input, None, progress(flow, tasks))
        }),
    }
}
