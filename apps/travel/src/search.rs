//! `Search`, `Geo` and `Rate`: which hotels are near, and what they cost.

use crate::geometry::{NEAREST, Point, nearest};
use crate::{Defect, Setup};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Function, Name, Op, ReadSet, Result, Value};

/// Finds the hotels near a place that have a rate plan, dearest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nearby {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

impl Op for Nearby {
    const FUNCTION: &'static str = "Search";
    const OP: &'static str = "Nearby";
    type Output = Vec<String>;
}

/// Finds the hotels nearest to a place, nearest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindNear {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

impl Op for FindNear {
    const FUNCTION: &'static str = "Geo";
    const OP: &'static str = "Nearby";
    type Output = Vec<String>;
}

/// Makes a hotel's place known; a row of the table `Geo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddPoint {
    /// The key.
    pub hotel_id: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

impl Op for AddPoint {
    const FUNCTION: &'static str = "Geo";
    const OP: &'static str = "Add";
    type Output = ();
}

/// What a room costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomType {
    /// What is asked for it.
    pub bookable_rate: f64,
    /// The sort of room.
    pub code: String,
    /// About it.
    pub description: String,
    /// What it costs.
    pub total_rate: f64,
    /// The same with taxes.
    pub total_rate_inclusive: f64,
}

/// Makes a hotel's rate plan known; a row of the table `Rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddPlan {
    /// The key.
    pub hotel_id: String,
    /// The plan.
    pub code: String,
    /// Its first day.
    pub in_date: String,
    /// Its last day.
    pub out_date: String,
    /// The room.
    pub room_type: RoomType,
}

impl Op for AddPlan {
    const FUNCTION: &'static str = "Rate";
    const OP: &'static str = "Add";
    type Output = ();
}

/// Sorts hotels by what they cost, dearest first, equal ones by id; those without a plan are left
/// out. Days do not matter, as in the published ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetRates {
    /// The hotels.
    pub hotel_ids: Vec<String>,
}

impl Op for GetRates {
    const FUNCTION: &'static str = "Rate";
    const OP: &'static str = "GetRates";
    type Output = Vec<String>;
}

pub(crate) fn functions(setup: Setup) -> [Function; 3] {
    [
        Function::new("Search", &[], |ctx, call| Box::pin(search(ctx, call))),
        Function::new("Geo", &["Geo"], move |ctx, call| {
            Box::pin(geo(setup, ctx, call))
        }),
        Function::new("Rate", &["Rate"], |ctx, call| Box::pin(rate(ctx, call))).reading(|call| {
            match &*call.op {
                GetRates::OP => ReadSet::named(call, "Rate", "hotelIds"),
                _ => None,
            }
        }),
    ]
}

async fn search(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        Nearby::OP => {
            let Nearby { lat, lon } = call.input()?;
            let hotel_ids = ctx.call(FindNear { lat, lon }).await?;
            let priced = ctx.call(GetRates { hotel_ids }).await?;
            Call::output::<Nearby>(&priced)
        }
        _ => Err(call.unknown("Search")),
    }
}

async fn geo(setup: Setup, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        AddPoint::OP => {
            let point: AddPoint = call.input()?;
            ctx.write("Geo", &point.hotel_id, &point).await?;
            Call::output::<AddPoint>(&())
        }
        FindNear::OP => {
            let FindNear { lat, lon } = call.input()?;
            let rows: Vec<(Name, AddPoint)> = ctx.scan("Geo").await?;
            let places = rows.iter().map(|(id, AddPoint { lat, lon, .. })| {
                let (lat, lon) = (*lat, *lon);
                (&**id, Point { lat, lon })
            });
            let count = NEAREST - usize::from(setup.has(Defect::SearchesFour));
            let near = nearest(Point { lat, lon }, places, count);
            let near = near.into_iter().map(str::to_owned).collect();
            Call::output::<FindNear>(&near)
        }
        _ => Err(call.unknown("Geo")),
    }
}

async fn rate(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        AddPlan::OP => {
            let plan: AddPlan = call.input()?;
            ctx.write("Rate", &plan.hotel_id, &plan).await?;
            Call::output::<AddPlan>(&())
        }
        GetRates::OP => {
            let GetRates { hotel_ids } = call.input()?;
            // Half of the searches find no hotel: reading nothing is not worth an operation.
            let plans: Vec<Option<AddPlan>> = match hotel_ids.is_empty() {
                true => Vec::new(),
                false => ctx.read_many("Rate", &hotel_ids).await?,
            };
            let mut plans: Vec<AddPlan> = plans.into_iter().flatten().collect();
            plans.sort_by(|a, b| {
                let (dear, cheap) = (b.room_type.total_rate, a.room_type.total_rate);
                dear.total_cmp(&cheap).then(a.hotel_id.cmp(&b.hotel_id))
            });
            let ids = plans.into_iter().map(|plan| plan.hotel_id).collect();
            Call::output::<GetRates>(&ids)
        }
        _ => Err(call.unknown("Rate")),
    }
}
