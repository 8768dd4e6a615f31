//! What a log is: a model of one, for tests and for runtimes that want no cluster.
