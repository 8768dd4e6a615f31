//! The JSON that travels to a function and back.

use serde::{Deserialize, Serialize};
use triptych_faas::{Execution, Payload};
use triptych_model::{Name, Value};
use triptych_world::{Life, Scope, Trace, World, mix};

/// A [`Payload`] as JSON: `{"body": …, "trace": {"request": …, "path": …}, "synchronous": …}`.
///
/// The body has its natural JSON form, so that a person can invoke a function by hand. Only the body
/// is required: a schedule or a person that sends no more causes background work that nobody
/// waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The content.
    pub body: Value,
    #[serde(with = "TraceForm", default = "background")]
    trace: Trace,
    /// Whether somebody waits for the reply. Lambda does not tell a function, so the caller does.
    #[serde(default)]
    synchronous: bool,
}

/// How serde sees a [`Trace`], whose crate knows nothing of formats.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Trace")]
struct TraceForm {
    request: u64,
    path: u64,
}

fn background() -> Trace {
    Trace {
        request: Trace::BACKGROUND,
        path: 0,
    }
}

impl Event {
    /// What a caller sends.
    pub fn request(payload: Payload, synchronous: bool) -> Self {
        Event {
            body: payload.body,
            trace: payload.trace,
            synchronous,
        }
    }

    /// What a function answers.
    pub fn reply(payload: Payload) -> Self {
        Event::request(payload, false)
    }

    /// What was sent, on whichever side it arrives.
    pub fn into_payload(self) -> Payload {
        Payload {
            body: self.body,
            trace: self.trace,
        }
    }

    /// The execution that this event asks a function for. `world` is this process's own: it knows
    /// of the request only what the trace says.
    ///
    /// An event may be delivered twice, and to another process, but each execution must draw random
    /// numbers of its own: its path continues with what only this one has.
    pub fn execution(self, world: &World, function: &Name) -> Execution {
        let Trace { request, path } = self.trace;
        let own = world.background_scope().next_key();
        let path = mix(mix(path, world.seed()), own);
        Execution {
            function: Name::clone(function),
            scope: Scope::new(world.request(request), path, Life::new()),
            synchronous: self.synchronous,
            payload: self.into_payload(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use triptych_world::Options;

    #[test]
    fn an_event_is_natural_json_and_survives_the_way_there_and_back() {
        let payload = Payload {
            body: Value::map([
                ("title", Value::str("Ran")),
                ("rating", Value::Float(8.0)),
                ("poster", Value::Bytes([0, 255].into())),
            ]),
            trace: Trace {
                request: 7,
                path: u64::MAX - 1,
            },
        };
        let event = Event::request(payload.clone(), true);
        let text = serde_json::to_string(&event).expect("an event is JSON");
        let expected = json!({
            "body": {"title": "Ran", "rating": 8.0, "poster": {"$bytes": "00ff"}},
            "trace": {"request": 7, "path": u64::MAX - 1},
            "synchronous": true,
        });
        let read: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(read, expected);
        let back: Event = serde_json::from_str(&text).expect("it is an event");
        assert_eq!(back, event);
        assert_eq!(back.into_payload(), payload);
    }

    #[test]
    fn an_event_without_a_trace_is_background_work() {
        let event: Event =
            serde_json::from_value(json!({"body": {"op": "collect"}})).expect("a body is enough");
        let world = World::real(0, Options::default());
        let execution = event.execution(&world, &Name::from("Collector"));
        assert_eq!(execution.scope.request().id, Trace::BACKGROUND);
        assert!(!execution.synchronous);
        assert_eq!(&*execution.function, "Collector");
    }

    #[test]
    fn two_executions_of_one_event_draw_different_numbers() {
        let event = Event::request(Payload::new(Value::Null), true);
        let key = |world: &World| {
            event
                .clone()
                .execution(world, &Name::from("User"))
                .scope
                .next_key()
        };
        let (one, other) = (
            World::real(1, Options::default()),
            World::real(2, Options::default()),
        );
        let first = key(&one);
        assert_ne!(first, key(&one), "one after the other");
        assert_ne!(first, key(&other), "in two processes");
    }

    #[test]
    fn an_event_without_a_body_is_refused() {
        let error = serde_json::from_value::<Event>(json!({"op": "collect"}))
            .expect_err("there is no body");
        assert!(error.to_string().contains("body"), "{error}");
    }
}
