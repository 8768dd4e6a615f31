//! `Frontend`: arranges a reservation.
//!
//! As a transaction, all legs are taken or none, and the order is placed inside it or handed over
//! with its commit. As a saga, every leg is taken for good, and given back when a later one is
//! refused; in between others see what will not last, so the invariants hold at rest only.

use crate::accounts::CheckUser;
use crate::nights::TakeNights;
use crate::orders::{PlaceOrder, order_id};
use crate::seats::{ReleaseHotel, Seat, TakeFlight, TakeHotel};
use crate::{Compat, Defect, Formulation, Mode, Order, Setup};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Error, Function, Op, Result, Value};

/// What is to be reserved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Booking {
    /// The client's own name for the request, which the order will carry.
    pub req_id: String,
    /// Who reserves.
    pub user_id: String,
    /// Which hotel.
    pub hotel_id: String,
    /// Which flight, if one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight_id: Option<String>,
    /// Which nights, where nights are reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stay: Option<Stay>,
}

/// Nights in a hotel. Only who knows the password may reserve them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stay {
    /// The day of arrival, such as `2015-04-09`.
    pub in_date: String,
    /// The day of departure.
    pub out_date: String,
    /// How many rooms.
    pub rooms: i64,
    /// The user's password.
    pub password: String,
}

/// What was reserved. What remains is what the oracle needs to see that nothing was sold twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reserved {
    /// The order; of the published port, its words.
    pub order_id: String,
    /// How many places remain in the hotel: one number, or one for each night.
    pub hotel_remaining: Vec<i64>,
    /// How many places remain in the flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight_remaining: Option<i64>,
}

/// A reservation, as the gateway passes it on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SendRequest(pub Booking);

impl Op for SendRequest {
    const FUNCTION: &'static str = "Frontend";
    const OP: &'static str = "SendRequest";
    type Output = Reserved;
}

/// What the published port answers when all went well.
pub const SUCCESS: &str = "Place Order Success";
/// What the published port answers otherwise, for whatever reason (D6).
pub const FAILURE: &str = "Place Order Fails";

pub(crate) fn function(setup: Setup) -> Function {
    Function::new("Frontend", &[], move |ctx, call| {
        Box::pin(handle(setup, ctx, call))
    })
}

async fn handle(setup: Setup, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        SendRequest::OP => {
            let SendRequest(booking) = call.input()?;
            Call::output::<SendRequest>(&reserve(setup, ctx, booking).await?)
        }
        _ => Err(call.unknown("Frontend")),
    }
}

async fn reserve(setup: Setup, ctx: &mut Ctx, booking: Booking) -> Result<Reserved> {
    if booking.stay.is_some() != (setup.config.mode == Mode::Dates) {
        return Err(Error::rejected(match setup.config.mode {
            Mode::Dates => "nights are reserved here: which?",
            Mode::Seats => "no nights are reserved here",
        }));
    }
    if let Some(stay) = &booking.stay {
        let (username, password) = (booking.user_id.clone(), stay.password.clone());
        let checked = ctx.call(CheckUser { username, password }).await?;
        if !checked.correct {
            return Err(Error::rejected(format!(
                "wrong password of {}",
                booking.user_id
            )));
        }
    }
    let order = order(setup, &booking);
    if setup.has(Defect::OrdersFirst) {
        ctx.call(order.clone()).await?;
    }
    match (setup.config.compat, setup.config.formulation) {
        (Compat::Beldi, _) => as_published(setup, ctx, &booking, order).await,
        (_, Formulation::Saga) => saga(setup, ctx, &booking, order).await,
        _ if setup.has(Defect::NoTransaction) => both(setup, ctx, &booking, &order).await,
        _ => {
            ctx.transaction(async |tx| both(setup, tx, &booking, &order).await)
                .await
        }
    }
}

fn order(setup: Setup, booking: &Booking) -> PlaceOrder {
    let order_id = match setup.has(Defect::ReusesOrderId) {
        true => order_id(&booking.user_id),
        false => order_id(&booking.req_id),
    };
    let stay = booking.stay.as_ref();
    PlaceOrder {
        order_id,
        req_id: booking.req_id.clone(),
        user_id: booking.user_id.clone(),
        hotel_id: booking.hotel_id.clone(),
        flight_id: booking.flight_id.clone(),
        in_date: stay.map(|stay| stay.in_date.clone()),
        out_date: stay.map(|stay| stay.out_date.clone()),
        rooms: stay.map(|stay| stay.rooms),
    }
}

/// The body of the transaction. What it sends is sent if it commits.
async fn both(
    setup: Setup,
    tx: &mut Ctx,
    booking: &Booking,
    order: &PlaceOrder,
) -> Result<Reserved> {
    let reserved = legs(setup, tx, booking, order).await?;
    if setup.has(Defect::OrdersFirst) {
        return Ok(reserved);
    }
    match setup.config.order {
        Order::Async => tx.send(order.clone()).await?,
        Order::Inside => tx.call(order.clone()).await?,
    }
    if setup.has(Defect::OrdersTwice) {
        tx.send(order.clone()).await?;
    }
    Ok(reserved)
}

async fn legs(
    setup: Setup,
    tx: &mut Ctx,
    booking: &Booking,
    order: &PlaceOrder,
) -> Result<Reserved> {
    let hotel_remaining = match &booking.stay {
        None => vec![tx.call(TakeHotel(seat(&booking.hotel_id, order))).await?],
        Some(stay) => {
            let nights = TakeNights {
                hotel_id: booking.hotel_id.clone(),
                order_id: order.order_id.clone(),
                in_date: stay.in_date.clone(),
                out_date: stay.out_date.clone(),
                rooms: stay.rooms,
            };
            tx.call(nights).await?
        }
    };
    let flight_remaining = match &booking.flight_id {
        Some(flight) if !setup.has(Defect::ForgetsFlight) => {
            Some(tx.call(TakeFlight(seat(flight, order))).await?)
        }
        _ => None,
    };
    Ok(Reserved {
        order_id: order.order_id.clone(),
        hotel_remaining,
        flight_remaining,
    })
}

fn seat(id: &str, order: &PlaceOrder) -> Seat {
    Seat {
        id: id.to_owned(),
        order_id: order.order_id.clone(),
    }
}

async fn saga(
    setup: Setup,
    ctx: &mut Ctx,
    booking: &Booking,
    order: PlaceOrder,
) -> Result<Reserved> {
    let hotel = seat(&booking.hotel_id, &order);
    let hotel_remaining = vec![ctx.call(TakeHotel(hotel.clone())).await?];
    let flight_remaining = match &booking.flight_id {
        None => None,
        Some(flight) => match ctx.call(TakeFlight(seat(flight, &order))).await {
            Ok(remaining) => Some(remaining),
            Err(Error::Rejected(reason)) => {
                if !setup.has(Defect::NoCompensation) {
                    ctx.call(ReleaseHotel(hotel)).await?;
                }
                return Err(Error::Rejected(reason));
            }
            Err(error) => return Err(error),
        },
    };
    let order_id = order.order_id.clone();
    ctx.send(order).await?;
    Ok(Reserved {
        order_id,
        hotel_remaining,
        flight_remaining,
    })
}

/// The work of the published port: both legs in a transaction, the order handed over after it, and
/// one answer for whatever went wrong (D6).
async fn as_published(
    setup: Setup,
    ctx: &mut Ctx,
    booking: &Booking,
    order: PlaceOrder,
) -> Result<Reserved> {
    let taken = ctx
        .transaction(async |tx| legs(setup, tx, booking, &order).await)
        .await;
    let said = match taken {
        Ok(_) => {
            ctx.send(order).await?;
            SUCCESS
        }
        Err(Error::Rejected(_) | Error::Aborted(_)) => FAILURE,
        Err(error) => return Err(error),
    };
    Ok(Reserved {
        order_id: said.to_owned(),
        ..Reserved::default()
    })
}
