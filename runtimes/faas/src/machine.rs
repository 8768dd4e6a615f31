//! State machines: a graph of function calls that the platform runs by itself (a "step function").
//!
//! No function waits for another one here, so nobody is billed for waiting; each call of a task is a
//! transition, and those are billed. The platform's own state is durable: a machine that has begun
//! goes on until it is done, and a call that failed is repeated. So a task may run more than once,
//! and whoever builds the machine gives every execution of it the same instance id.

use crate::{InvokeError, Payload, Platform, SimPool};
use futures_util::future::join_all;
use std::rc::Rc;
use triptych_model::{Name, Value};
use triptych_world::{Life, MS, SECOND, Scope, mix_str};

/// What a task or the answer is made from: the machine's input and the replies so far.
pub struct Flow<'a> {
    /// What the machine was started with.
    pub start: &'a Value,
    replies: &'a [Option<Value>],
}

impl Flow<'_> {
    /// The reply of a task; none if it was skipped or has not run.
    pub fn reply(&self, task: usize) -> Option<&Value> {
        self.replies.get(task)?.as_ref()
    }
}

/// Makes a payload out of what is known; nothing skips the task.
pub type Select = Rc<dyn Fn(&Flow<'_>) -> Option<Value>>;

/// One call of a machine.
#[derive(Clone)]
pub struct Task {
    /// The function to invoke.
    pub function: Name,
    /// The tasks (by position, all before this one) that must have ended.
    pub after: Vec<usize>,
    /// What to send.
    pub input: Select,
}

/// A graph of tasks, in topological order.
#[derive(Clone)]
pub struct Machine {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The reply to whoever started it.
    pub answer: Select,
}

/// The first pause before a failed call is repeated; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: u64 = 200 * MS;
const LONGEST_PAUSE: u64 = 30 * SECOND;

/// Runs a machine. The caller may go away: it runs to its end all the same.
pub(crate) async fn run(
    pool: SimPool,
    request: Scope,
    machine: Rc<Machine>,
    start: Value,
) -> Result<Payload, InvokeError> {
    let world = pool.world().clone();
    let state = Rc::clone(request.request());
    let path = mix_str(request.next_key(), "machine");
    let scope = Scope::new(Rc::clone(&state), path | 1, Life::new());
    state.begin();
    let began = world.now();
    let running = world.clone();
    let answer = world.spawn("machine", async move {
        let mut replies: Vec<Option<Value>> = vec![None; machine.tasks.len()];
        let mut ended = vec![false; machine.tasks.len()];
        while let Some(wave) = ready(&machine, &ended) {
            let calls = wave.iter().map(|&at| {
                let task = &machine.tasks[at];
                let flow = Flow {
                    start: &start,
                    replies: &replies,
                };
                let input = (task.input)(&flow);
                let (pool, scope) = (&pool, &scope);
                async move {
                    match input {
                        Some(input) => Some(call(pool, scope, &task.function, input).await),
                        None => None,
                    }
                }
            });
            let came: Vec<Option<Value>> = join_all(calls).await;
            for (at, reply) in wave.into_iter().zip(came) {
                replies[at] = reply;
                ended[at] = true;
            }
        }
        let flow = Flow {
            start: &start,
            replies: &replies,
        };
        let answer = (machine.answer)(&flow);
        state.entry_ran(running.now() - began);
        state.end(running.now());
        answer
    });
    match answer.await {
        Some(body) => Ok(Payload::new(body)),
        None => Err(InvokeError::Crashed("the machine has no answer".to_owned())),
    }
}

/// The tasks that can run now: those after which nothing is missing. None once all have ended.
fn ready(machine: &Machine, ended: &[bool]) -> Option<Vec<usize>> {
    let ready: Vec<usize> = (0..machine.tasks.len())
        .filter(|&at| !ended[at] && machine.tasks[at].after.iter().all(|&before| ended[before]))
        .collect();
    (!ready.is_empty()).then_some(ready)
}

/// One transition, repeated until it has a reply.
async fn call(pool: &SimPool, scope: &Scope, function: &Name, input: Value) -> Value {
    let world = pool.world();
    let mut pause = FIRST_PAUSE;
    loop {
        pool.count(|work| work.state_transitions += 1);
        let payload = Payload::new(input.clone());
        match pool.invoke(scope, function, payload).await {
            Ok(reply) => return reply.body,
            Err(_) => {
                let jitter = world.keyed(scope.next_key()).below(pause);
                world.sleep(pause / 2 + jitter).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }
}
