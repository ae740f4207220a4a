//! Fuzzing in its short form: a property is tried on a corpus and on what a small mutator makes of it, the same
//! inputs at every run. The long form lets libFuzzer choose them and calls the same [`Target::check`]; see `tests/fuzz`.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

/// Something that has to hold for any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also of its folder in `tests/fuzz/corpus` and its words in `tests/fuzz/words`.
    pub name: &'static str,
    /// Panics where the property does not hold.
    pub check: fn(&[u8]),
    /// Mutated inputs of a short run.
    pub runs: u32,
}

/// What inputs are made of.
struct Stock {
    /// The corpus, with the names of the files.
    seeds: Vec<(String, Vec<u8>)>,
    /// What the format is made of. Inputs get more of it than chance would give them.
    words: Vec<Vec<u8>>,
}

/// No input is longer. What grows faster than its input shows long before this.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Whoever is waited for so long never ends.
const PATIENCE: Duration = Duration::from_secs(20);

impl Target {
    /// The corpus first, then [`runs`](Self::runs) mutated inputs.
    ///
    /// `FUZZ_SEED` gives others, `FUZZ_TIMES` so many times more of them, and `FUZZ_INPUT` names the one file to try.
    pub fn play(&self) {
        if let Ok(file) = env::var("FUZZ_INPUT") {
            let input = fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            return (self.check)(&input);
        }
        let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let runs = u64::from(self.runs) * number("FUZZ_TIMES").unwrap_or(1);
        self.play_over(&Stock::of(self.name), number("FUZZ_SEED").unwrap_or(1), runs);
    }

    fn play_over(&self, stock: &Stock, seed: u64, runs: u64) {
        let trier = Trier::start(*self);
        for (name, input) in &stock.seeds {
            trier.try_one(&format!("corpus/{}/{name}", self.name), input);
        }
        let mut random = Random::of(self.name.as_bytes());
        random.0 ^= seed;
        for run in 0..runs {
            trier.try_one(&format!("input {run} of seed {seed}"), &mutated(stock, &mut random));
        }
    }
}

/// Tries inputs on a thread of its own, so that one that never ends can be named.
struct Trier {
    target: Target,
    inputs: SyncSender<Vec<u8>>,
    held: Receiver<bool>,
}

impl Trier {
    fn start(target: Target) -> Self {
        let (inputs, given) = sync_channel::<Vec<u8>>(1);
        let (tell, held) = sync_channel(1);
        thread::spawn(move || {
            for input in given {
                let held = catch_unwind(AssertUnwindSafe(|| (target.check)(&input))).is_ok();
                if tell.send(held).is_err() {
                    return;
                }
            }
        });
        Self { target, inputs, held }
    }

    fn try_one(&self, source: &str, input: &[u8]) {
        self.inputs.send(input.to_vec()).expect("it takes inputs for as long as they are given");
        let what = match self.held.recv_timeout(PATIENCE) {
            Ok(true) => return,
            Ok(false) => "failed",
            Err(_) => "did not come to its end",
        };
        let name = self.target.name;
        let saved = env::temp_dir().join(format!("deskbridge-fuzz-{name}-{:016x}", Random::of(input).0));
        let kept = fs::write(&saved, input).map_or_else(|error| error.to_string(), |()| saved.display().to_string());
        panic!(
            "the fuzz target `{name}` {what} on {source}, {count} bytes:\n{shown}\n\
             It is in {kept}. Try it again by `FUZZ_INPUT={kept}` before the same test; to keep it, move it to \
             tests/fuzz/corpus/{name}/ under a name that says what it is.",
            count = input.len(),
            shown = input.escape_ascii(),
        );
    }
}

impl Stock {
    /// What is in the repository. libFuzzer's own finds beside it, which it names by their hash, are left to libFuzzer.
    fn of(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
        let folder = root.join("corpus").join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let is_find = |name: &str| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut seeds: Vec<(String, Vec<u8>)> = entries
            .map(|entry| entry.expect("the corpus can be listed"))
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
            .filter(|(name, _)| !is_find(name))
            .map(|(name, path)| (name, fs::read(path).expect("the corpus can be read")))
            .collect();
        seeds.sort();
        let file = root.join("words").join(format!("{name}.dict"));
        let words = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let words: Vec<Vec<u8>> = words.lines().map(word).collect();
        assert!(!seeds.is_empty() && !words.is_empty(), "the fuzz target `{name}` has no corpus or no words");
        Self { seeds, words }
    }
}

/// A line of a dictionary as libFuzzer reads it: a word in quotes, odd bytes as `\xNN`.
fn word(line: &str) -> Vec<u8> {
    let quoted = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut rest = quoted.unwrap_or_else(|| panic!("no quoted word: {line}")).as_bytes();
    let mut word = Vec::new();
    while let [first, behind @ ..] = rest {
        if *first != b'\\' {
            word.push(*first);
            rest = behind;
            continue;
        }
        let digits = behind.strip_prefix(b"x").and_then(|digits| std::str::from_utf8(digits.get(..2)?).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        word.push(byte.unwrap_or_else(|| panic!("an escape that libFuzzer does not read: {line}")));
        rest = &behind[3..];
    }
    word
}

/// Numbers that are the same each time (`SplitMix64`): a failure must come again.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From some bytes, so that a target needs no input but its bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let hash = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    /// From 0 to below `count`, which must not be 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    }

    /// One of these, which must not be empty.
    pub fn of_these<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    fn range(&mut self, bytes: usize, length_max: usize) -> std::ops::Range<usize> {
        let start = self.below(bytes + 1);
        start..(start + self.below(length_max) + 1).min(bytes)
    }
}

/// `bytes` in pieces, as a socket might give them: the same pieces for the same bytes.
pub fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    let mut random = Random::of(bytes);
    let size_max = *random.of_these(&[1, 3, 12, 100]);
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((random.below(size_max) + 1).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn mutated(stock: &Stock, random: &mut Random) -> Vec<u8> {
    let mut input = random.of_these(&stock.seeds).1.clone();
    for _ in 0..1 << random.below(5) {
        mutate(&mut input, stock, random);
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

fn mutate(input: &mut Vec<u8>, stock: &Stock, random: &mut Random) {
    /// Bytes that end, separate or hide something somewhere.
    const LOUD: &[u8] = b"\0\x01\t\n\r\x1b \"#%&'()*,-./:;<=>@[\\]_`{|}~\x7f\x80\xc3\xff";
    let at = random.below(input.len() + 1);
    match random.below(10) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = *random.of_these(LOUD),
        2 => input.insert(at, *random.of_these(LOUD)),
        3 => drop(input.drain(random.range(input.len(), 8))),
        4 => drop(input.drain(random.range(input.len(), 200))),
        5 => {
            let again = input[random.range(input.len(), 60)].to_vec();
            input.splice(at..at, again);
        }
        6 => {
            let many = input[random.range(input.len(), 12)].repeat(random.below(200));
            input.splice(at..at, many);
        }
        7 => {
            let other = &random.of_these(&stock.seeds).1;
            let part = other[random.range(other.len(), 200)].to_vec();
            input.splice(at..at, part);
        }
        8 if random.below(4) == 0 => input.truncate(at),
        _ => {
            let old = at..(at + *random.of_these(&[0, 0, 1, 4])).min(input.len());
            input.splice(old, random.of_these(&stock.words).iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock() -> Stock {
        let seeds = vec![("one".to_owned(), b"alpha beta".to_vec()), ("two".to_owned(), b"gamma".to_vec())];
        Stock { seeds, words: vec![word("\"x\\x0a\"")] }
    }

    const BITES: Target = Target { name: "bites", check: |input| assert!(!input.ends_with(b"x\nx\n")), runs: 0 };

    #[test]
    fn what_does_not_hold_is_found_and_the_same_input_is_found_again() {
        let failure = |seed| {
            let played = catch_unwind(|| BITES.play_over(&stock(), seed, 20_000));
            *played.expect_err("it does not hold").downcast::<String>().unwrap()
        };
        let first = failure(7);
        assert!(first.contains("`bites` failed on input") && first.contains("x\\n"), "{first}");
        assert_eq!(first, failure(7));
    }

    #[test]
    fn inputs_differ_and_stay_short() {
        let mut random = Random::of(b"any");
        let inputs: Vec<_> = (0..2_000).map(|_| mutated(&stock(), &mut random)).collect();
        assert!(inputs.iter().all(|input| input.len() <= INPUT_BYTES_MAX));
        let different: std::collections::HashSet<_> = inputs.iter().collect();
        assert!(different.len() > 1_500, "{}", different.len());
        assert!(inputs.iter().any(|input| input.len() > 500) && inputs.iter().any(Vec::is_empty));
    }

    #[test]
    fn a_word_is_read_as_libfuzzer_reads_it() {
        assert_eq!(word("\"a\\x0d\\x5c\\xc3\\xa4 b\""), b"a\r\\\xc3\xa4 b");
        assert!(std::panic::catch_unwind(|| word("\"\\xq\"")).is_err());
    }

    #[test]
    fn pieces_are_the_whole_in_its_order() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(pieces(&bytes).concat(), bytes);
        assert_eq!(pieces(&bytes), pieces(&bytes));
        assert!(pieces(&bytes).len() > 1 && pieces(b"").is_empty());
    }
}
