//! Figures. Run as a test it only shows that the figures can be taken, and that what is measured is
//! right; `--large` takes them.
//!
//! ```text
//! cargo test --release --test bench -- --large [intake] [inbound] [floods] [troubles] [matrix] [mail] [store] [postgres] [footprint] [page] [--folder DIR]
//! cargo test --release --test bench -- store --large --waiting 10000,100000,1000000
//! cargo test --release --test bench -- reopen --folder DIR/1000000-waiting
//! ```

mod disk;
mod floods;
mod footprint;
mod homeserver;
mod inbound;
mod intake;
mod load;
mod mail;
mod matrix;
mod others;
mod page;
mod plan;
mod postgres;
mod slices;
mod stand_in;
mod store;
mod troubles;
mod wait;

use std::{env, path::PathBuf};

use slices::Effort;

const ALL: [&str; 10] =
    ["store", "postgres", "intake", "inbound", "floods", "troubles", "matrix", "mail", "footprint", "page"];

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    // The bare client takes whichever is there; the gateway's brings its own.
    rustls::crypto::ring::default_provider().install_default().expect("nobody else did");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads are to be had");
    if runtime.block_on(footprint::is_child(&words)) {
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is a folder for scratch files");
    let folder = value("--folder").map_or(scratch.path().to_owned(), PathBuf::from);
    if has("reopen") {
        return runtime.block_on(store::restart(folder));
    }
    let waiting = value("--waiting").map_or("10000,100000,1000000", String::as_str);
    let waiting: Vec<usize> = waiting.split(',').map(|count| count.parse().expect("a number")).collect();
    let most = waiting.iter().copied().max().unwrap_or_default();
    let large = has("--large");
    let effort = if large { Effort::large() } else { Effort::small() };
    let wanted = |name: &str| has(name) || !ALL.iter().any(|any| has(any));
    if wanted("store") {
        let sizes = if large { store::Sizes::large(waiting.clone()) } else { store::Sizes::small() };
        runtime.block_on(store::run(&folder, &sizes));
    }
    if wanted("postgres") {
        let sizes = if large { postgres::Sizes::large(waiting) } else { postgres::Sizes::small() };
        runtime.block_on(postgres::run(&folder, &sizes));
    }
    if wanted("intake") {
        runtime.block_on(intake::run(&folder, effort));
    }
    if wanted("inbound") {
        runtime.block_on(inbound::run(&folder, effort));
    }
    if wanted("floods") {
        runtime.block_on(floods::run(&folder, effort));
    }
    if wanted("troubles") {
        runtime.block_on(troubles::run(&folder, effort));
    }
    if wanted("matrix") {
        runtime.block_on(matrix::run(&folder, effort));
    }
    if wanted("mail") {
        mail::run(&folder, effort);
    }
    if wanted("page") {
        let sizes = if large { page::Sizes::large(most as i64) } else { page::Sizes::small() };
        runtime.block_on(page::run(&folder, &sizes));
    }
    if wanted("footprint") {
        footprint::run(&folder, &if large { footprint::Load::large() } else { footprint::Load::small() });
    }
}
