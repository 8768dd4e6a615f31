//! Workflows on the baseline: the platform repeats a call that failed, and that is all. A workflow
//! that should be a transaction is just its calls.

use crate::envelope;
use std::rc::Rc;
use triptych_api::{Name, Node, Outputs, Value, Workflow, decode_reply, node_id};
use triptych_faas::{Flow, Machine, Select, Task};

/// The outputs of the tasks that have ended, or the first refusal among them.
fn outputs(nodes: &[Node], flow: &Flow<'_>) -> Result<Outputs, Value> {
    let mut outputs = Outputs::new();
    for (at, node) in nodes.iter().enumerate() {
        let Some(reply) = flow.reply(at) else {
            continue;
        };
        match decode_reply(reply) {
            Ok(output) => outputs.insert(node.name.clone(), output),
            Err(_) => return Err(reply.clone()),
        };
    }
    Ok(outputs)
}

pub(crate) fn of(workflow: &Workflow) -> Machine {
    let nodes: Rc<[Node]> = workflow.nodes.clone().into();
    let parts = |start: &Value| -> Option<(Name, Value)> {
        let id = start.get("instance")?.as_str()?;
        Some((Name::from(id), start.get("input")?.clone()))
    };
    let transactional = workflow.transactional;
    let task = |(at, node): (usize, &Node)| {
        let all = Rc::clone(&nodes);
        let input: Select = Rc::new(move |flow| {
            let (id, request) = parts(flow.start)?;
            let outputs = outputs(&all, flow).ok()?;
            let node = &all[at];
            let input = (node.input)(&id, &request, &outputs);
            let tx = transactional.then(|| id.clone());
            Some(envelope(&node_id(&id, &node.name), &node.op, input, tx))
        });
        let before = |name: &Name| nodes.iter().position(|node| node.name == *name);
        Task {
            function: node.function.clone(),
            after: node.after.iter().filter_map(before).collect(),
            input,
        }
    };
    let tasks = nodes.iter().enumerate().map(task).collect();
    let (all, output) = (Rc::clone(&nodes), workflow.output);
    let answer: Select = Rc::new(move |flow| {
        let (id, request) = parts(flow.start)?;
        Some(match outputs(&all, flow) {
            Ok(outputs) => Value::map([("ok", output(&id, &request, &outputs))]),
            Err(refusal) => refusal,
        })
    });
    Machine { tasks, answer }
}
