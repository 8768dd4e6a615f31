//! The sequencer: keeps the metalog.
