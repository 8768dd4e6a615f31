//! `Gateway`: where clients come. It passes each request on to the function that serves it.

use crate::accounts::CheckUser;
use crate::frontend::{Booking, Reserved, SendRequest};
use crate::hotels::{GetProfiles, GetRecommendations, Require};
use crate::nights::CheckAvailability;
use crate::search::Nearby;
use crate::{Mode, Setup};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Function, Op, ReadSet, Result, Value};

/// Looks for hotels around a place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// The day of arrival, such as `2015-04-09`.
    pub in_date: String,
    /// The day of departure.
    pub out_date: String,
}

impl Op for Search {
    const FUNCTION: &'static str = "Gateway";
    const OP: &'static str = "Search";
    type Output = Hotels;
}

/// Asks for the best hotels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommend {
    /// What is best.
    pub require: Require,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

impl Op for Recommend {
    const FUNCTION: &'static str = "Gateway";
    const OP: &'static str = "Recommend";
    type Output = Hotels;
}

/// Some hotels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hotels {
    /// Their ids.
    pub hotel_ids: Vec<String>,
    /// What they say of themselves, where that is asked for (`mode = dates`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Value>,
}

/// Checks a user's password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Who.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Whether a password was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// It was.
    pub correct: bool,
}

impl Op for User {
    const FUNCTION: &'static str = "Gateway";
    const OP: &'static str = "User";
    type Output = Checked;
}

/// Reserves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reserve(pub Booking);

impl Op for Reserve {
    const FUNCTION: &'static str = "Gateway";
    const OP: &'static str = "Reserve";
    type Output = Reserved;
}

pub(crate) fn function(setup: Setup) -> Function {
    Function::new("Gateway", &[], move |ctx, call| {
        Box::pin(handle(setup, ctx, call))
    })
    .reading(|call| match &*call.op {
        User::OP => ReadSet::named(call, "User", "username").map(ReadSet::below),
        _ => None,
    })
}

async fn handle(setup: Setup, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        Search::OP => Call::output::<Search>(&search(setup, ctx, call.input()?).await?),
        Recommend::OP => {
            let Recommend { require, lat, lon } = call.input()?;
            let hotel_ids = ctx.call(GetRecommendations { require, lat, lon }).await?;
            let profiles = profiles(setup, ctx, &hotel_ids).await?;
            Call::output::<Recommend>(&Hotels {
                hotel_ids,
                profiles,
            })
        }
        User::OP => {
            let User { username, password } = call.input()?;
            Call::output::<User>(&ctx.call(CheckUser { username, password }).await?)
        }
        Reserve::OP => {
            let Reserve(booking) = call.input()?;
            Call::output::<Reserve>(&ctx.call(SendRequest(booking)).await?)
        }
        _ => Err(call.unknown("Gateway")),
    }
}

async fn search(setup: Setup, ctx: &mut Ctx, input: Search) -> Result<Hotels> {
    let Search {
        lat,
        lon,
        in_date,
        out_date,
    } = input;
    let mut hotel_ids = ctx.call(Nearby { lat, lon }).await?;
    if setup.config.mode == Mode::Dates && !hotel_ids.is_empty() {
        let ask = CheckAvailability {
            hotel_ids,
            in_date,
            out_date,
            rooms: 1,
        };
        hotel_ids = ctx.call(ask).await?;
    }
    let profiles = profiles(setup, ctx, &hotel_ids).await?;
    Ok(Hotels {
        hotel_ids,
        profiles,
    })
}

/// What the hotels say of themselves. The ports without dates never ask.
async fn profiles(setup: Setup, ctx: &mut Ctx, hotel_ids: &[String]) -> Result<Vec<Value>> {
    if setup.config.mode == Mode::Seats || hotel_ids.is_empty() {
        return Ok(Vec::new());
    }
    let hotel_ids = hotel_ids.to_vec();
    ctx.call(GetProfiles { hotel_ids }).await
}
