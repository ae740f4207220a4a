//! The parts against each other over loopback, one module per feature.

mod sandbox;
