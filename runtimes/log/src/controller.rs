//! The controller: watches, seals, decides views.
//!
//! Controllers hear from every node ([`crate::Message::Alive`]) and from each other. The lowest one
//! that lives acts; another that wrongly thinks it is the lowest does no harm. When something must
//! change ([`watch`]), it has the sequencers seal the view ([`ending`] says what that shows), works
//! out the next one ([`plan`]), and has it chosen in the register of its number ([`register`]). What
//! is chosen is told to everybody at once. [`Controller`] is the node around these.

mod attempt;
mod disk;
pub mod ending;
mod node;
pub mod plan;
pub mod register;
#[cfg(test)]
pub(crate) mod testing;
pub mod watch;

pub use node::Controller;
