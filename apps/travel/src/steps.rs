//! A reservation as a graph of calls that the platform runs: hotel and flight at once, then the
//! order. It is one transaction where the runtime has any; no function waits, and is billed, for
//! another.

use crate::frontend::{Booking, Reserved};
use crate::orders::{PlaceOrder, order_id};
use crate::seats::{Leg, Seat, TakeFlight, TakeHotel};
use serde::Serialize;
use triptych_api::model::{from_value, to_value};
use triptych_api::{Name, Node, Op, Outputs, Value, Workflow};

/// What clients start.
pub(crate) const NAME: &str = "Reservation";

pub(crate) fn workflow() -> Workflow {
    let node = |name: &str, function: &str, op: &str, after: &[&str], input| Node {
        name: Name::from(name),
        function: Name::from(function),
        op: Name::from(op),
        after: after.iter().copied().map(Name::from).collect(),
        input,
    };
    Workflow {
        name: Name::from(NAME),
        nodes: vec![
            node(
                "hotel",
                Leg::Hotel.table(),
                TakeHotel::OP,
                &[],
                |_, request, _| seat(request, |booking| Some(booking.hotel_id)),
            ),
            node(
                "flight",
                Leg::Flight.table(),
                TakeFlight::OP,
                &[],
                |_, request, _| seat(request, |booking| booking.flight_id),
            ),
            node(
                "order",
                PlaceOrder::FUNCTION,
                PlaceOrder::OP,
                &["hotel", "flight"],
                order,
            ),
        ],
        output,
        transactional: true,
    }
}

/// A request that is no booking asks for a place of nothing, which is refused.
fn booking(request: &Value) -> Booking {
    from_value(request).unwrap_or_default()
}

fn plain(value: &impl Serialize) -> Value {
    to_value(value).unwrap_or_default()
}

fn seat(request: &Value, leg: fn(Booking) -> Option<String>) -> Value {
    let booking = booking(request);
    plain(&Seat {
        order_id: order_id(&booking.req_id),
        id: leg(booking).unwrap_or_default(),
    })
}

fn order(_: &str, request: &Value, _: &Outputs) -> Value {
    let booking = booking(request);
    plain(&PlaceOrder {
        order_id: order_id(&booking.req_id),
        req_id: booking.req_id,
        user_id: booking.user_id,
        hotel_id: booking.hotel_id,
        flight_id: booking.flight_id,
        in_date: None,
        out_date: None,
        rooms: None,
    })
}

fn output(_: &str, request: &Value, outputs: &Outputs) -> Value {
    let remaining = |leg: &str| outputs.get(leg).and_then(Value::as_int);
    plain(&Reserved {
        order_id: order_id(&booking(request).req_id),
        hotel_remaining: remaining("hotel").into_iter().collect(),
        flight_remaining: remaining("flight"),
    })
}
