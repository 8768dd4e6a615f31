//! BokiFlow: exactly-once workflows on the shared log.
