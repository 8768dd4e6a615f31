//! A runtime to test apps and rules with: tables in memory, every operation atomic, nothing ever
//! crashes, and tasks take turns in an order that the seed decides. What it leaves behind is right
//! by construction, so a rule that complains of it is wrong. With a [`Bug`] it is a runtime that
//! breaks one promise, and some rule must complain.
//!
//! It is for tests alone: it needs no world, no store and no platform, and cannot be measured. A
//! newcomer can start with [`run`].

mod instance;

use instance::{Shared, Task, World, execute};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use triptych_api::model::{OpRecord, Outcome, Random, mix_str};
use triptych_api::{
    App, Coverage, Error, Evidence, Isolation, Name, Order, Result, RuleReport, State, Value,
};

/// So many turns of tasks make a millisecond: few enough that timestamps are often equal.
const TURNS_PER_MS: u64 = 50;

/// A promise that the runtime breaks, at one operation in fifty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A call that was handed over is never made.
    DropSend,
    /// A call that was handed over is made twice.
    RepeatSend,
    /// An update is acknowledged and not made.
    DropUpdate,
    /// An update is made twice.
    RepeatUpdate,
    /// A write is acknowledged and not made.
    DropWrite,
    /// A read answers what was there before the last change.
    StaleRead,
    /// Two unique ids are the same.
    ReusedId,
    /// An aborted transaction keeps its writes, and sends what it would have sent.
    IgnoreAbort,
}

/// A request, or one of the loads.
#[derive(Clone, Debug)]
pub struct Request {
    /// Position in the run's kinds.
    pub kind: u16,
    /// The function to call.
    pub function: String,
    /// The entry point.
    pub op: String,
    /// Its input.
    pub input: Value,
    /// The logical client that sends it.
    pub session: u32,
}

/// What a run left behind, all that a rule may see.
#[derive(Clone)]
pub struct Run {
    /// The names of the request kinds.
    pub kinds: Vec<String>,
    /// Every request, as its client saw it.
    pub ops: Vec<OpRecord>,
    /// What is in the tables at the end.
    pub state: State,
    /// The settings of the app.
    pub settings: BTreeMap<String, String>,
    /// How often each entry point was executed, loads excluded.
    pub executions: BTreeMap<String, u64>,
}

impl Run {
    /// What rules may judge.
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence {
            kinds: &self.kinds,
            ops: &self.ops,
            state: &self.state,
            settings: &self.settings,
            isolation: Isolation::Serializable,
            order: Order::RealTime,
        }
    }

    /// What the app's rules say.
    pub fn check(&self, app: &App) -> (Vec<RuleReport>, Coverage) {
        (app.rules)(&self.evidence())
    }

    /// The rules that complain, with their witnesses.
    pub fn complaints(&self, app: &App) -> Vec<String> {
        let (reports, _) = self.check(app);
        let violated = reports.into_iter().filter(|report| report.violations > 0);
        violated
            .map(|report| {
                let told = report
                    .witness
                    .map(|witness| witness.told)
                    .unwrap_or_default();
                format!("{}: {told}", report.rule)
            })
            .collect()
    }

    /// The names of the rules that complain.
    pub fn violated(&self, app: &App) -> Vec<String> {
        let name = |told: String| told.split(':').next().unwrap_or_default().to_owned();
        self.complaints(app).into_iter().map(name).collect()
    }
}

/// What becomes of a request, apart from what the app says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is executed and answered.
    Answered,
    /// It is executed, and the client has given up before.
    GivenUp,
    /// The client gave up, and it is never executed.
    Lost,
    /// It was refused before it began.
    Failed,
    /// It was never sent.
    Shed,
}

/// When each request was answered, and what.
type Answers = BTreeMap<usize, (u64, Result<Value>)>;

fn new_world(app: &App, seed: u64) -> Shared {
    Rc::new(RefCell::new(World {
        app: app.clone(),
        tables: BTreeMap::new(),
        older: BTreeMap::new(),
        turn: 0,
        random: Random::new(mix_str(seed, "bugs")),
        bug: None,
        spawned: Vec::new(),
        settled: BTreeMap::new(),
        executions: BTreeMap::new(),
        open: None,
    }))
}

/// Executes a request while nothing else happens.
fn alone(world: &Shared, id: &str, request: Request) -> Result<Value> {
    let Request {
        function,
        op,
        input,
        ..
    } = request;
    let id = Name::from(id);
    let mut run = Box::pin(execute(world, id, usize::MAX, None, &function, &op, input));
    loop {
        if let Some(answer) = poll(world, run.as_mut()) {
            return answer;
        }
    }
}

/// Runs one request after another, each with all that it sends before the next: what was answered,
/// and what is left. For comparing arrangements of an app that must come to the same.
pub fn run_serially(app: &App, requests: Vec<Request>) -> (Vec<Result<Value>>, State) {
    let world = new_world(app, 0);
    let mut answers = Vec::new();
    for (at, request) in requests.into_iter().enumerate() {
        // No two requests share a millisecond.
        let turn = world.borrow().turn;
        world.borrow_mut().turn = turn.next_multiple_of(TURNS_PER_MS) + TURNS_PER_MS;
        answers.push(alone(&world, &format!("request{at}"), request));
        loop {
            let sent = world.borrow_mut().spawned.pop();
            let Some(mut task) = sent else { break };
            while poll(&world, task.future.as_mut()).is_none() {}
        }
    }
    let tables = world.borrow().tables.clone();
    let state = State {
        tables,
        ..State::default()
    };
    (answers, state)
}

/// Runs the loads one after another, then the requests, up to eight at a time.
///
/// # Panics
/// If the app fails with a bug of its own.
pub fn run(
    app: &App,
    settings: &BTreeMap<String, String>,
    kinds: Vec<String>,
    loads: Vec<Request>,
    requests: &[Request],
    seed: u64,
    bug: Option<Bug>,
) -> Run {
    let world = new_world(app, seed);
    for (at, load) in loads.into_iter().enumerate() {
        // What loads send is executed with the requests.
        let _ = alone(&world, &format!("load{at}"), load);
    }
    world.borrow_mut().bug = bug;
    world.borrow_mut().executions.clear();

    let mut luck = Random::new(mix_str(seed, "turns"));
    let first_turn = world.borrow().turn;
    let now = |world: &Shared| (world.borrow().turn - first_turn) * 1_000_000 / TURNS_PER_MS;
    let answers: Rc<RefCell<Answers>> = Rc::default();
    let mut ops: Vec<OpRecord> = Vec::new();
    let mut fates = Vec::new();
    let mut tasks: Vec<Task> = Vec::new();
    loop {
        tasks.append(&mut world.borrow_mut().spawned);
        let next = ops.len();
        let start = tasks.is_empty() || (tasks.len() < 8 && luck.chance(0.05));
        if let (true, Some(request)) = (start, requests.get(next)) {
            let fate = match luck.below(50) {
                0 => Fate::GivenUp,
                1 => Fate::Lost,
                2 => Fate::Failed,
                3 => Fate::Shed,
                _ => Fate::Answered,
            };
            let sent = now(&world);
            ops.push(record(next, request, sent, luck.below(10) == 0));
            fates.push(fate);
            if matches!(fate, Fate::Answered | Fate::GivenUp) {
                let id = Name::from(format!("client{next}"));
                let input = request.input.clone();
                let run = execute(
                    &world,
                    id,
                    next,
                    None,
                    &request.function,
                    &request.op,
                    input,
                );
                let (answers, clock) = (Rc::clone(&answers), Rc::clone(&world));
                let future = Box::pin(async move {
                    let answer = run.await;
                    let time = (clock.borrow().turn - first_turn) * 1_000_000 / TURNS_PER_MS;
                    answers.borrow_mut().insert(next, (time, answer));
                });
                tasks.push(Task { root: next, future });
            }
            continue;
        }
        if tasks.is_empty() {
            break;
        }
        let chosen = luck.below(tasks.len() as u64) as usize;
        if poll(&world, tasks[chosen].future.as_mut()).is_some() {
            let root = tasks.swap_remove(chosen).root;
            let time = now(&world);
            world.borrow_mut().settled.insert(root, time);
        }
    }

    let answers = answers.borrow();
    for (at, (op, fate)) in ops.iter_mut().zip(fates).enumerate() {
        op.settled_ns = world.borrow().settled.get(&at).copied().unwrap_or(0);
        op.done_ns = op.sent_ns;
        op.outcome = match (fate, answers.get(&at)) {
            (Fate::Answered, Some((time, answer))) => {
                op.done_ns = *time;
                if let Ok(output) = answer {
                    op.observed = (app.observe)(&kinds[usize::from(op.kind)], &op.input, output);
                }
                outcome(answer)
            }
            (Fate::Failed, _) => Outcome::Failed("throttled".to_owned()),
            (Fate::Shed, _) => Outcome::Shed,
            // Whether a request was given up or still in flight is the same to the rules.
            _ if at % 2 == 0 => Outcome::InFlight,
            _ => Outcome::Indeterminate("timeout".to_owned()),
        };
    }
    let tables = world.borrow().tables.clone();
    let state = State {
        tables,
        ..State::default()
    };
    Run {
        kinds,
        ops,
        state,
        settings: settings.clone(),
        executions: world.borrow().executions.clone(),
    }
}

fn outcome(answer: &Result<Value>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Ok,
        Err(Error::Rejected(reason)) => Outcome::Rejected(reason.clone()),
        Err(Error::Aborted(reason)) => Outcome::Aborted(reason.clone()),
        Err(error) => panic!("the app failed: {error}"),
    }
}

fn record(index: usize, request: &Request, sent_ns: u64, faulted: bool) -> OpRecord {
    OpRecord {
        index: index as u64,
        kind: request.kind,
        session: request.session,
        intended_ns: sent_ns,
        sent_ns,
        done_ns: 0,
        settled_ns: 0,
        entry_ns: 0,
        outcome: Outcome::InFlight,
        input: request.input.clone(),
        observed: Value::Null,
        faults: u16::from(faulted),
    }
}

fn poll<T>(world: &Shared, future: Pin<&mut (dyn Future<Output = T> + '_)>) -> Option<T> {
    world.borrow_mut().turn += 1;
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
