//! irc

#[expect(dead_code, reason = "the machine is being built on it")]
mod ctcp;
#[expect(dead_code, reason = "the machine is being built on it")]
mod isupport;
#[expect(dead_code, unused_imports, reason = "the machine is being built on it")]
mod message;
#[expect(dead_code, unused_imports, reason = "the machine is being built on it")]
mod render;
#[expect(dead_code, reason = "the machine is being built on it")]
mod sasl;
#[expect(dead_code, reason = "the machine is being built on it")]
mod text;
