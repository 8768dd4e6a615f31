//! `Order`: what was reserved.
//!
//! An order's id is a function of its request's, never made up where it is written: a repeated
//! execution would make up another one, and write a second order (D4). A row counts how often it was
//! placed, so that a hand-over that happens twice is seen although it writes the same key.

use crate::{Compat, Defect, Setup};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Change, Ctx, Function, Op, Result, Value};

/// Keeps an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceOrder {
    /// The key.
    pub order_id: String,
    /// The client's name for the request.
    pub req_id: String,
    /// Who reserved.
    pub user_id: String,
    /// Which hotel.
    pub hotel_id: String,
    /// Which flight, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight_id: Option<String>,
    /// The day of arrival, where nights are reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_date: Option<String>,
    /// The day of departure, where nights are reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_date: Option<String>,
    /// How many rooms, where nights are reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<i64>,
}

impl Op for PlaceOrder {
    const FUNCTION: &'static str = "Order";
    const OP: &'static str = "Place";
    type Output = ();
}

const TABLE: &str = "Order";

/// The id of a request's order.
pub fn order_id(req_id: &str) -> String {
    format!("order-{req_id}")
}

pub(crate) fn function(setup: Setup) -> Function {
    Function::new("Order", &[TABLE], move |ctx, call| {
        Box::pin(handle(setup, ctx, call))
    })
}

async fn handle(setup: Setup, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        PlaceOrder::OP => {
            place(setup, ctx, call.input()?).await?;
            Call::output::<PlaceOrder>(&())
        }
        _ => Err(call.unknown("Order")),
    }
}

async fn place(setup: Setup, ctx: &mut Ctx, mut order: PlaceOrder) -> Result<()> {
    if setup.config.compat == Compat::Beldi || setup.has(Defect::OrdersTwice) {
        // D4: the published port makes the id up here. On a runtime that repeats executions alike, a
        // repeated one makes up the same.
        order.order_id = ctx.unique_id().await?;
    }
    let PlaceOrder {
        order_id,
        req_id,
        user_id,
        hotel_id,
        flight_id,
        in_date,
        out_date,
        rooms,
    } = order;
    let mut changes = vec![
        Change::set("orderId", order_id.as_str()),
        Change::set("reqId", req_id),
        Change::set("userId", user_id),
        Change::set("hotelId", hotel_id),
        Change::add("placed", 1),
    ];
    let texts = [
        ("flightId", flight_id),
        ("inDate", in_date),
        ("outDate", out_date),
    ];
    for (field, text) in texts {
        changes.extend(text.map(|text| Change::set(field, text)));
    }
    changes.extend(rooms.map(|rooms| Change::set("rooms", rooms)));
    ctx.update(TABLE, &order_id, None, changes).await?;
    Ok(())
}
