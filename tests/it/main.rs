//! The parts together, over loopback: one module for each feature.

mod settings;
