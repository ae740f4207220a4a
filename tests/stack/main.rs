//! The image, and the stack of `docker-compose.yml`, on a real Docker engine. `.ci/stack` builds the image and says by which
//! command stacks are run; without that word everything here is skipped, loudly.
//!
//! ```text
//! .ci/stack
//! DESKBRIDGE_STACK=docker-compose cargo test --test stack -- --nocapture    # when the image is built
//! ```

#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/http.rs"]
mod http;
#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/sandbox.rs"]
mod sandbox;
#[path = "../e2e/wait.rs"]
mod wait;

mod image;
mod people;
mod profiles;
mod replicas;
mod stream;
mod survival;
mod world;
