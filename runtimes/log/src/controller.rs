//! The controller: watches, seals, decides views.
