//! Workflows on the baseline: the platform repeats a call that failed, and that is all. A workflow
//! that should be a transaction is just its calls.

use std::rc::Rc;
use triptych_api::{Name, Value, Workflow, node_id};
use triptych_faas::{Flow, Machine, Select, Task};
use triptych_site::Envelope;

/// The request's id and input.
fn request(flow: &Flow<'_>) -> Option<(Name, Value)> {
    let id = flow.start.get("instance")?.as_str()?;
    Some((Name::from(id), flow.start.get("input")?.clone()))
}

pub(crate) fn of(workflow: &Workflow) -> Machine {
    let workflow = Rc::new(workflow.clone());
    let task = |at: usize| {
        let whole = Rc::clone(&workflow);
        let node = &workflow.nodes[at];
        let before = |name: &Name| workflow.nodes.iter().position(|node| node.name == *name);
        Task {
            function: node.function.clone(),
            after: node.after.iter().filter_map(before).collect(),
            input: Rc::new(move |flow| {
                let (id, input) = request(flow)?;
                let outputs = whole.outputs(|at| flow.reply(at)).ok()?;
                let node = &whole.nodes[at];
                let input = (node.input)(&id, &input, &outputs);
                let tx = whole.transactional.then(|| id.clone());
                let call = Envelope::new(node_id(&id, &node.name), node.op.clone(), input);
                Some(Envelope { tx, ..call }.into())
            }),
        }
    };
    let tasks = (0..workflow.nodes.len()).map(task).collect();
    let answer: Select = Rc::new(move |flow| {
        let (id, input) = request(flow)?;
        Some(match workflow.outputs(|at| flow.reply(at)) {
            Ok(outputs) => Value::map([("ok", (workflow.output)(&id, &input, &outputs))]),
            Err(refusal) => refusal,
        })
    });
    Machine { tasks, answer }
}
