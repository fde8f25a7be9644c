//! The only place that touches NumPy views: dtype, contiguity and length checks.
