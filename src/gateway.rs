//! Builds the parts and owns every task.
