//! Workflows: a graph of calls that the platform runs, and what makes one a transaction
//! (specification §9).
//!
//! Every call is an instance whose id derives from the request's and the node's, so a call that the
//! platform repeats is the same instance, and its logs give it its effects once. A transactional
//! workflow has two calls more, both to the function of its first node: *begin*, before all others,
//! makes the transaction and notes every function that can take part; *end*, after all others, is
//! told how they ended and starts the wave that any transaction ends with. In between, the context
//! travels in the data, and once a node has refused, those that have not begun are left out.

use crate::envelope;
use crate::finish::{FINISH, Finish};
use crate::log::Run;
use crate::tx::TxContext;
use std::rc::Rc;
use triptych_api::{Node, Result, Step, TxEnd, Workflow, decode_reply, node_id};
use triptych_faas::{Flow, Machine, Select, Task};
use triptych_model::{Name, Value};

/// The entry point that makes the transaction of a workflow.
pub(crate) const BEGIN: &str = "beldi.begin";

impl Run {
    /// Makes the transaction of a workflow, and notes who can take part in it.
    pub(crate) async fn begin_workflow(&self, functions: &Value) -> Result<Value> {
        let tx = TxContext {
            born: self.born,
            id: self.instance.clone(),
        };
        let functions = functions.as_list().unwrap_or_default();
        let functions = functions.iter().filter_map(Value::as_str).map(Name::from);
        let functions: Vec<Name> = functions.collect();
        self.shadow_callees(&Step::new("part"), &tx, &functions)
            .await?;
        Ok(tx.to_word())
    }
}

/// The request's id and input.
fn request(flow: &Flow<'_>) -> Option<(Name, Value)> {
    let id = flow.start.get("instance")?.as_str()?;
    Some((Name::from(id), flow.start.get("input")?.clone()))
}

/// A call of one instance of the workflow.
fn call(id: &str, part: &str, op: &str, input: Value, tx: Option<&TxContext>) -> Value {
    envelope::call(&node_id(id, part), op, input, None, tx)
}

/// The machine of a workflow; `isolated` if it is to be one transaction.
pub(crate) fn of(workflow: &Workflow, isolated: bool) -> Machine {
    let workflow = Rc::new(workflow.clone());
    let nodes = &workflow.nodes;
    // Where the nodes' tasks begin.
    let first = usize::from(isolated);
    let mut tasks = Vec::new();
    let host = nodes.first().map(|node| node.function.clone());
    if let (true, Some(host)) = (isolated, &host) {
        tasks.push(begin(host.clone(), nodes));
    }
    for (at, node) in nodes.iter().enumerate() {
        let before = |name: &Name| nodes.iter().position(|node| node.name == *name);
        let after = node.after.iter().filter_map(before).map(|at| at + first);
        let whole = Rc::clone(&workflow);
        tasks.push(Task {
            function: node.function.clone(),
            after: (0..first).chain(after).collect(),
            input: Rc::new(move |flow| {
                let (id, input) = request(flow)?;
                let outputs = whole.outputs(|at| flow.reply(at + first)).ok()?;
                let node = &whole.nodes[at];
                if !node.after.iter().all(|name| outputs.contains_key(name)) {
                    return None;
                }
                let tx = transaction(first, flow);
                let input = (node.input)(&id, &input, &outputs);
                Some(call(&id, &node.name, &node.op, input, tx.as_ref()))
            }),
        });
    }
    if let (true, Some(host)) = (isolated, host) {
        tasks.push(end(host, Rc::clone(&workflow), tasks.len()));
    }
    let answer: Select = Rc::new(move |flow| {
        let (id, input) = request(flow)?;
        Some(match workflow.outputs(|at| flow.reply(at + first)) {
            Ok(outputs) => Value::map([("ok", (workflow.output)(&id, &input, &outputs))]),
            Err(refusal) => refusal,
        })
    });
    Machine { tasks, answer }
}

/// What *begin* has made.
fn transaction(first: usize, flow: &Flow<'_>) -> Option<TxContext> {
    let begun = flow.reply(first.checked_sub(1)?)?;
    TxContext::from_word(&decode_reply(begun).ok()?)
}

fn begin(host: Name, nodes: &[Node]) -> Task {
    let mut functions: Vec<Value> = Vec::new();
    for node in nodes {
        let function = Value::from(node.function.clone());
        if !functions.contains(&function) {
            functions.push(function);
        }
    }
    let functions = Value::list(functions);
    Task {
        function: host,
        after: Vec::new(),
        input: Rc::new(move |flow| {
            let (id, _) = request(flow)?;
            Some(call(&id, BEGIN, BEGIN, functions.clone(), None))
        }),
    }
}

/// How the nodes ended is the same whenever the platform asks, because every reply is: so is the
/// decision.
fn end(host: Name, workflow: Rc<Workflow>, tasks: usize) -> Task {
    Task {
        function: host,
        after: (0..tasks).collect(),
        input: Rc::new(move |flow| {
            let (id, _) = request(flow)?;
            let tx = transaction(1, flow)?;
            let end = match workflow.outputs(|at| flow.reply(at + 1)) {
                Ok(_) => TxEnd::Commit,
                Err(_) => TxEnd::Abort,
            };
            let message = Finish::new(tx, end).to_value();
            Some(call(&id, FINISH, FINISH, message, None))
        }),
    }
}
