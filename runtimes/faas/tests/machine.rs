//! State machines on the simulated pool: order, repetition, leaving tasks out, and what is billed.

use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use triptych_faas::{
    Answer, Deployment, Execution, Handler, InvokeError, Machine, Payload, Platform, PoolConfig,
    Select, SimPool, Task, Timer,
};
use triptych_model::{Name, Outcome, State, Value};
use triptych_world::latency::Profile;
use triptych_world::{Life, MS, Options, SECOND, Scope, World};

/// Three functions and a machine `all`: two tasks at once, and a third one after both.
struct Three {
    world: World,
    /// The bodies that were executed, in the order in which they ended.
    ran: Rc<RefCell<Vec<i64>>>,
    /// How often the second task fails before it replies.
    failures: Rc<Cell<u32>>,
    /// The third task is left out if the first one's reply is this.
    unless: i64,
}

impl Three {
    fn handler(&self) -> Handler {
        let (world, ran) = (self.world.clone(), self.ran.clone());
        let failures = self.failures.clone();
        Rc::new(move |execution: Execution| {
            let (world, ran) = (world.clone(), ran.clone());
            let failures = failures.clone();
            Box::pin(async move {
                let number = execution.payload.body.as_int().unwrap_or(0);
                world.sleep(50 * MS).await;
                ran.borrow_mut().push(number);
                if number == 20 && failures.get() > 0 {
                    failures.set(failures.get() - 1);
                    return Err("fails".to_owned());
                }
                Ok(Payload::new(Value::Int(number + 1)))
            })
        })
    }
}

impl Deployment for Three {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn functions(&self) -> Vec<(Name, Handler)> {
        vec![(Name::from("f"), self.handler())]
    }
    fn machines(&self) -> Vec<(Name, Machine)> {
        let unless = self.unless;
        let inputs: [Select; 3] = [
            Rc::new(|flow| flow.start.as_int().map(Value::Int)),
            Rc::new(|_| Some(Value::Int(20))),
            Rc::new(move |flow| {
                let first = flow.reply(0)?.as_int()?;
                (first != unless).then_some(Value::Int(first + flow.reply(1)?.as_int()?))
            }),
        ];
        let after = [vec![], vec![], vec![0, 1]];
        let task = |(input, after)| Task {
            function: Name::from("f"),
            after,
            input,
        };
        let machine = Machine {
            tasks: inputs.into_iter().zip(after).map(task).collect(),
            answer: Rc::new(|flow| Some(flow.reply(2).cloned().unwrap_or_default())),
        };
        vec![(Name::from("all"), machine)]
    }
    fn timers(&self) -> Vec<Timer> {
        Vec::new()
    }
    fn request(&self, _: &str, _: &str, input: Value, _: &Value) -> Payload {
        Payload::new(input)
    }
    fn answer(&self, _: Result<Payload, InvokeError>) -> Answer {
        Answer {
            outcome: Outcome::Ok,
            output: Value::Null,
            session: Value::Null,
        }
    }
    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        Box::pin(async { Ok(0) })
    }
    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        Box::pin(async { Ok(State::default()) })
    }
}

struct End {
    reply: Value,
    ran: Vec<i64>,
    transitions: u64,
    invocations: u64,
    function_ns: u64,
    took: u64,
}

fn run(start: i64, failures: u32) -> End {
    World::simulate(3, Options::default(), move |world| async move {
        let profile = Profile::shipped("aws-2020").unwrap();
        let config = PoolConfig::for_profile(&profile);
        let pool = SimPool::new(&world, &profile, config).unwrap();
        let three = Three {
            world: world.clone(),
            ran: Rc::default(),
            failures: Rc::new(Cell::new(failures)),
            unless: 6,
        };
        pool.place(&three);
        let state = world.begin_request(0, 0);
        let scope = Scope::new(Rc::clone(&state), 0, Life::new());
        let began = world.now();
        let payload = Payload::new(Value::Int(start));
        let reply = pool.invoke(&scope, &Name::from("all"), payload).await;
        let took = world.now() - began;
        assert_eq!(state.live(), 0);
        assert!(state.entry() > 0);
        let work = pool.work();
        let ran = three.ran.borrow().clone();
        End {
            reply: reply.unwrap().body,
            ran,
            transitions: work.state_transitions,
            invocations: work.invocations,
            function_ns: work.function_ns,
            took,
        }
    })
    .expect("no deadlock")
}

#[test]
fn tasks_run_at_once_or_after_those_they_need_and_nobody_is_billed_for_waiting() {
    let end = run(1, 0);
    assert_eq!(end.reply, Value::Int(2 + 21 + 1));
    let mut first = end.ran[..2].to_vec();
    first.sort_unstable();
    assert_eq!((first, end.ran[2]), (vec![1, 20], 23));
    assert_eq!((end.transitions, end.invocations), (3, 3));
    // Two waves of 50 ms; three executions of it are billed, and not the machine itself.
    assert!(
        end.function_ns < 3 * 50 * MS + 60 * MS,
        "{}",
        end.function_ns
    );
    assert!(end.took > 100 * MS && end.took < 3 * SECOND, "{}", end.took);
}

#[test]
fn a_call_that_fails_is_repeated_and_each_try_is_a_transition() {
    let end = run(1, 3);
    assert_eq!(end.reply, Value::Int(24));
    let tries = end.ran.iter().filter(|number| **number == 20).count();
    assert_eq!((tries, end.transitions), (4, 6));
}

#[test]
fn a_task_without_an_input_is_left_out() {
    let end = run(5, 0);
    assert_eq!((end.reply, end.transitions), (Value::Null, 2));
}
