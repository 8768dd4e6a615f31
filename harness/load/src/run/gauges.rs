//! Noting at regular moments of the load what the runtime keeps, through the free look: it costs the
//! system under test nothing and takes no time.

use super::RunError;
use super::system::System;
use std::cell::RefCell;
use std::rc::Rc;
use triptych_results::Gauge;
use triptych_world::Nanos;

type Noted = Rc<RefCell<Result<Vec<Gauge>, String>>>;

/// What has been noted so far.
pub(super) struct Gauges {
    noted: Noted,
    /// When the last moment is.
    end: Option<Nanos>,
}

impl Gauges {
    /// Notes now and then every `period`, as long as the load lasts. Nothing without a period.
    pub(super) fn start(system: &Rc<System>, period: Option<Nanos>, span: Nanos) -> Gauges {
        let noted = Rc::new(RefCell::new(Ok(Vec::new())));
        if let Some(period) = period {
            let (world, noted) = (system.world.clone(), Rc::clone(&noted));
            let system = Rc::clone(system);
            world.spawn("gauges", async move {
                let begun = system.world.now();
                let moments = (0..).map(|n| n * period).take_while(|at| *at <= span);
                for moment in moments {
                    system.world.sleep_until(begun + moment).await;
                    let amounts = system.free.look(system.deployment.gauges()).await;
                    let named = |amounts: triptych_faas::Gauges| Gauge {
                        at_ns: system.world.now(),
                        amounts: amounts
                            .into_iter()
                            .map(|(name, amount)| (name.to_string(), amount))
                            .collect(),
                    };
                    let mut noted = noted.borrow_mut();
                    match (amounts.map(named), &mut *noted) {
                        (Ok(gauge), Ok(gauges)) => gauges.push(gauge),
                        (Err(error), _) => *noted = Err(error),
                        (Ok(_), Err(_)) => return,
                    }
                }
            });
        }
        let end = period.map(|period| system.world.now() + span - span % period);
        Gauges { noted, end }
    }

    /// What was noted, by the time from the start of the load. Waits for the last moment.
    ///
    /// # Errors
    /// If the runtime could not say what it keeps.
    pub(super) async fn take(self, system: &System, origin: Nanos) -> Result<Vec<Gauge>, RunError> {
        if let Some(end) = self.end {
            // One more, so that whoever is due at that moment has had its turn.
            system.world.sleep_until(end + 1).await;
        }
        let mut gauges = self.noted.replace(Ok(Vec::new())).map_err(RunError::Dump)?;
        for gauge in &mut gauges {
            gauge.at_ns = gauge.at_ns.saturating_sub(origin);
        }
        Ok(gauges)
    }
}
