//! CausalMesh as a runtime.
