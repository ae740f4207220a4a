//! Figures. Run as a test it only shows that the figures can be taken; `--large` takes them.
//!
//! ```text
//! cargo test --release --test bench -- store --large --waiting 10000,100000,1000000 --folder DIR
//! cargo test --release --test bench -- restart --folder DIR/1000000-waiting
//! ```

mod disk;
mod store;

use std::{env, path::PathBuf};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads are to be had");
    let scratch = tempfile::tempdir().expect("there is a folder for scratch files");
    let folder = value("--folder").map_or(scratch.path().to_owned(), PathBuf::from);
    if words.iter().any(|word| word == "restart") {
        return runtime.block_on(store::restart(folder));
    }
    let waiting = value("--waiting").map_or("10000,100000,1000000", String::as_str);
    let waiting = waiting.split(',').map(|count| count.parse().expect("a number")).collect();
    let large = words.iter().any(|word| word == "--large");
    let sizes = if large { store::Sizes::large(waiting) } else { store::Sizes::small() };
    runtime.block_on(store::run(&folder, &sizes));
}
