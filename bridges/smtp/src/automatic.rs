//! Was this written by a robot? Pure.
