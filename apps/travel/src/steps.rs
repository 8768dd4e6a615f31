//! A reservation as a graph of calls that the platform runs: hotel and flight at once, then the
//! order. It is one transaction where the runtime has any; no function waits, and is billed, for
//! another.

use crate::frontend::{Booking, Reserved};
use crate::orders::{PlaceOrder, order_id};
use crate::seats::{Leg, Seat, TakeHotel};
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
                |id, request, _| seat(id, request, |booking| Some(booking.hotel_id)),
            ),
            node(
                "flight",
                Leg::Flight.table(),
                TakeHotel::OP,
                &[],
                |id, request, _| seat(id, request, |booking| booking.flight_id),
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

/// A request that is no booking has an input that no function can read, which ends the workflow.
fn plain(value: Option<impl Serialize>) -> Value {
    value
        .and_then(|value| to_value(&value).ok())
        .unwrap_or_default()
}

fn booking(id: &str, request: &Value) -> Option<(String, Booking)> {
    let mut booking: Booking = from_value(request).ok()?;
    let req_id = booking.req_id.take().unwrap_or_else(|| id.to_owned());
    Some((req_id, booking))
}

fn seat(id: &str, request: &Value, leg: fn(Booking) -> Option<String>) -> Value {
    plain(booking(id, request).and_then(|(req_id, booking)| {
        Some(Seat {
            id: leg(booking)?,
            order_id: order_id(&req_id),
        })
    }))
}

fn order(id: &str, request: &Value, _: &Outputs) -> Value {
    plain(booking(id, request).map(|(req_id, booking)| PlaceOrder {
        order_id: order_id(&req_id),
        req_id,
        user_id: booking.user_id,
        hotel_id: booking.hotel_id,
        flight_id: booking.flight_id,
        in_date: None,
        out_date: None,
        rooms: None,
    }))
}

fn output(id: &str, request: &Value, outputs: &Outputs) -> Value {
    let remaining = |leg: &str| outputs.get(leg).and_then(Value::as_int);
    plain(booking(id, request).map(|(req_id, _)| Reserved {
        order_id: order_id(&req_id),
        hotel_remaining: remaining("hotel").into_iter().collect(),
        flight_remaining: remaining("flight"),
    }))
}
