//! Workflows: requests that the platform runs as a graph of calls, instead of a function that calls
//! others and is billed while it waits.
//!
//! An app describes the graph as plain data; a runtime gives the calls their guarantees. Every call
//! is an instance of its own, whose id derives from the request's and the node's, so that a call the
//! platform repeats is the same instance. With [`Workflow::transactional`], a runtime that has
//! transactions makes the whole graph one; a node that rejects ends it for all.

use crate::decode_reply;
use std::collections::BTreeMap;
use triptych_model::{Name, Value};

/// The outputs of the nodes that have ended, by their names.
pub type Outputs = BTreeMap<Name, Value>;

/// One call of a workflow.
#[derive(Clone)]
pub struct Node {
    /// Its name, unique in the workflow.
    pub name: Name,
    /// The function to call.
    pub function: Name,
    /// The entry point.
    pub op: Name,
    /// The nodes that must have ended well before; they stand before this one.
    pub after: Vec<Name>,
    /// Its input, from the request's id, the request's input, and what has ended.
    pub input: fn(id: &str, request: &Value, outputs: &Outputs) -> Value,
}

/// A graph of calls that clients start by its name, as if it were a function.
#[derive(Clone)]
pub struct Workflow {
    /// Its name, different from every function's.
    pub name: Name,
    /// Its calls, each after those that it names.
    pub nodes: Vec<Node>,
    /// The answer, once all have ended well.
    pub output: fn(id: &str, request: &Value, outputs: &Outputs) -> Value,
    /// Whether all calls together are one transaction.
    pub transactional: bool,
}

impl Workflow {
    /// The outputs of the nodes that have ended well, given each one's reply by its position.
    ///
    /// # Errors
    /// The reply of the first node that did not end well: then the workflow's answer is that.
    pub fn outputs<'a>(
        &self,
        reply: impl Fn(usize) -> Option<&'a Value>,
    ) -> Result<Outputs, Value> {
        let mut outputs = Outputs::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(reply) = reply(at) else { continue };
            match decode_reply(reply) {
                Ok(output) => outputs.insert(node.name.clone(), output),
                Err(_) => return Err(reply.clone()),
            };
        }
        Ok(outputs)
    }
}

/// The id of a node's instance.
pub fn node_id(request: &str, node: &str) -> Name {
    Name::from(format!("{request}/{node}"))
}
