//! `Hotel` and `Flight`: how many places are left, and who has the others.
//!
//! Both have the same code and tables of their own. In a transaction a place is taken as people
//! write it: read, look, write back; the runtime's isolation makes that right, and its absence is
//! seen. A saga has no isolation to rely on, so there one conditional update takes the place, and
//! giving it back notes the order in a second list: lists only grow.

use crate::nights::{self, CheckAvailability, TakeNights};
use crate::{Compat, Defect, Formulation, Setup};
use serde::{Deserialize, Serialize};
use std::fmt;
use triptych_api::model::Comparison;
use triptych_api::{
    Call, Change, Condition, Ctx, Error, Function, Op, Path, ReadSet, Result, Value,
};

/// What a place is reserved of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leg {
    /// A hotel.
    Hotel,
    /// A flight.
    Flight,
}

impl Leg {
    /// Both.
    pub const BOTH: [Leg; 2] = [Leg::Hotel, Leg::Flight];

    /// Its function, and its table of places.
    pub fn table(self) -> &'static str {
        match self {
            Leg::Hotel => "Hotel",
            Leg::Flight => "Flight",
        }
    }

    /// The refusal of somebody who comes too late; `what` is the key, and the night if there is one.
    pub fn sold_out(self, what: &str) -> String {
        format!("sold out: {self} {what}")
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Leg::Hotel => "hotel",
            Leg::Flight => "flight",
        })
    }
}

/// Opens a hotel or a flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Add {
    /// The key.
    pub id: String,
    /// How many places it has (rooms a night, where nights are reserved).
    pub capacity: i64,
}

impl Add {
    /// The entry point, at both functions.
    pub const OP: &'static str = "Add";
}

/// One place for one order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    /// Of which hotel or flight.
    pub id: String,
    /// For which order.
    pub order_id: String,
}

/// Takes a place in a hotel; answers how many remain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TakeHotel(pub Seat);

impl Op for TakeHotel {
    const FUNCTION: &'static str = "Hotel";
    const OP: &'static str = "Take";
    type Output = i64;
}

/// Takes a place in a flight; answers how many remain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TakeFlight(pub Seat);

impl Op for TakeFlight {
    const FUNCTION: &'static str = "Flight";
    const OP: &'static str = "Take";
    type Output = i64;
}

/// Gives a place in a hotel back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseHotel(pub Seat);

impl Op for ReleaseHotel {
    const FUNCTION: &'static str = "Hotel";
    const OP: &'static str = "Release";
    type Output = ();
}

/// A row of the tables `Hotel` and `Flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatRow {
    /// The key again.
    pub id: String,
    /// How many places are left.
    pub cap: i64,
    /// How many there were in the beginning.
    pub total: i64,
    /// The orders that took one.
    pub customers: Vec<String>,
    /// The orders that gave theirs back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<String>,
}

pub(crate) fn functions(setup: Setup) -> [Function; 2] {
    [
        Function::new("Hotel", &["Hotel", "Night"], move |ctx, call| {
            Box::pin(handle(setup, Leg::Hotel, ctx, call))
        })
        .reading(|call| taken(call, Leg::Hotel)),
        Function::new("Flight", &["Flight"], move |ctx, call| {
            Box::pin(handle(setup, Leg::Flight, ctx, call))
        })
        .reading(|call| taken(call, Leg::Flight)),
    ]
}

/// What taking a seat reads.
fn taken(call: &Call, leg: Leg) -> Option<ReadSet> {
    match &*call.op {
        TakeHotel::OP => ReadSet::named(call, leg.table(), "id"),
        _ => None,
    }
}

async fn handle(setup: Setup, leg: Leg, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match (leg, &*call.op) {
        (_, Add::OP) => {
            let add: Add = triptych_api::model::from_value(&call.input)?;
            let row = SeatRow {
                id: add.id,
                cap: add.capacity,
                total: add.capacity,
                ..SeatRow::default()
            };
            ctx.write(leg.table(), &row.id, &row).await?;
            Ok(Value::Null)
        }
        (Leg::Hotel, TakeHotel::OP) => {
            let TakeHotel(seat) = call.input()?;
            Call::output::<TakeHotel>(&take(setup, leg, ctx, seat).await?)
        }
        (Leg::Flight, TakeFlight::OP) => {
            let TakeFlight(seat) = call.input()?;
            Call::output::<TakeFlight>(&take(setup, leg, ctx, seat).await?)
        }
        (Leg::Hotel, ReleaseHotel::OP) => {
            let ReleaseHotel(seat) = call.input()?;
            Call::output::<ReleaseHotel>(&release(leg, ctx, seat).await?)
        }
        (Leg::Hotel, TakeNights::OP) => {
            let input = call.input()?;
            Call::output::<TakeNights>(&nights::take(setup, ctx, input).await?)
        }
        (Leg::Hotel, CheckAvailability::OP) => {
            let input = call.input()?;
            Call::output::<CheckAvailability>(&nights::available(ctx, input).await?)
        }
        _ => Err(call.unknown(leg.table())),
    }
}

async fn take(setup: Setup, leg: Leg, ctx: &mut Ctx, seat: Seat) -> Result<i64> {
    match setup.config.formulation {
        Formulation::Saga => take_at_once(leg, ctx, seat).await,
        Formulation::Txn | Formulation::Steps => take_in_transaction(setup, leg, ctx, seat).await,
    }
}

async fn take_in_transaction(setup: Setup, leg: Leg, ctx: &mut Ctx, seat: Seat) -> Result<i64> {
    let Seat { id, order_id } = seat;
    let row: Option<SeatRow> = ctx.read(leg.table(), &id).await?;
    let Some(mut row) = row else {
        return Err(unknown(leg, &id));
    };
    let least = if setup.has(Defect::KeepsLastSeat) {
        1
    } else {
        0
    };
    if row.cap <= least && !setup.has(Defect::SellsBelowZero) {
        return Err(Error::Rejected(leg.sold_out(&id)));
    }
    let before = row.cap;
    // The published port writes back what it has read (D1).
    if setup.config.compat == Compat::None {
        if !setup.has(Defect::KeepsCapacity) {
            row.cap -= 1;
        }
        if !(leg == Leg::Flight && setup.has(Defect::ForgetsPassenger)) {
            row.customers.push(order_id);
        }
    }
    ctx.write(leg.table(), &id, &row).await?;
    let answers_before = setup.has(Defect::AnswersBefore);
    Ok(if answers_before { before } else { row.cap })
}

async fn take_at_once(leg: Leg, ctx: &mut Ctx, seat: Seat) -> Result<i64> {
    let Seat { id, order_id } = seat;
    let left = Condition::Compare(Path::attr("cap"), Comparison::Greater, Value::Int(0));
    let changes = vec![
        Change::add("cap", -1),
        Change::append("customers", order_id),
    ];
    let updated = ctx.update(leg.table(), &id, Some(left), changes).await?;
    if let (true, Some(remaining)) = (updated.applied, updated.sum) {
        return Ok(remaining);
    }
    let row: Option<Value> = ctx.read(leg.table(), &id).await?;
    Err(match row {
        Some(_) => Error::Rejected(leg.sold_out(&id)),
        None => unknown(leg, &id),
    })
}

async fn release(leg: Leg, ctx: &mut Ctx, seat: Seat) -> Result<()> {
    let Seat { id, order_id } = seat;
    let changes = vec![Change::add("cap", 1), Change::append("released", order_id)];
    ctx.update(leg.table(), &id, None, changes).await?;
    Ok(())
}

/// The refusal of a key that was never opened.
pub(crate) fn unknown(leg: Leg, id: &str) -> Error {
    Error::rejected(format!("unknown {leg}: {id}"))
}
