//! The only crate that knows Python: `vespiary._core`.
