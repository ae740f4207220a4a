//! What there is to copy: tables that both sides have, with the same columns, in an order that both sides have.

use sha2::{Digest, Sha256};

/// What is in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Of {
    /// 64 bits; fewer in some columns of the target.
    Number,
    Truth,
    Text,
    /// JSON, which has no NUL.
    Json,
    Bytes,
}

/// One table.
#[derive(Debug)]
pub(in crate::store) struct Kind {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) columns: &'static [(&'static str, Of)],
    /// So many of the first columns are its key.
    pub(in crate::store) key: usize,
    /// About how large a row may be.
    pub(in crate::store) row_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Value {
    Null,
    Number(i64),
    Truth(bool),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    /// Each value with its kind and its length, so that no two rows look alike.
    pub(super) fn digest(&self, digest: &mut Sha256) {
        let mut put = |kind: u8, bytes: &[u8]| {
            digest.update([kind]);
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        match self {
            Self::Null => put(0, &[]),
            Self::Number(number) => put(1, &number.to_le_bytes()),
            Self::Truth(truth) => put(2, &[u8::from(*truth)]),
            Self::Text(text) => put(3, text.as_bytes()),
            Self::Bytes(bytes) => put(4, bytes),
        }
    }
}

use Of::{Bytes, Json, Number, Text, Truth};

const SMALL: usize = 1 << 8;
const LETTER: usize = 1 << 12;
const FILE: usize = 1 << 20;

pub(in crate::store) const KINDS: &[Kind] = &[
    Kind { name: "sink", columns: &[("id", Number), ("name", Text)], key: 1, row_bytes: SMALL },
    Kind {
        name: "ev",
        columns: &[
            ("id", Number),
            ("sink", Number),
            ("lane", Number),
            ("rank", Number),
            ("due", Number),
            ("attempts", Number),
            ("number", Number),
            ("started", Number),
            ("mark", Number),
        ],
        key: 1,
        row_bytes: SMALL,
    },
    Kind {
        name: "body",
        columns: &[("id", Number), ("key", Text), ("accepted", Number), ("order_json", Json)],
        key: 1,
        row_bytes: LETTER,
    },
    Kind { name: "known", columns: &[("at", Number), ("hash", Bytes), ("id", Number)], key: 2, row_bytes: SMALL },
    Kind {
        name: "attempt",
        columns: &[
            ("id", Number),
            ("number", Number),
            ("started", Number),
            ("mark", Number),
            ("ended", Number),
            ("outcome", Text),
            ("reason", Text),
        ],
        key: 2,
        row_bytes: SMALL,
    },
    Kind {
        name: "done",
        columns: &[
            ("id", Number),
            ("key", Text),
            ("sink", Number),
            ("lane", Number),
            ("accepted", Number),
            ("ended", Number),
            ("discarded", Truth),
            ("result", Text),
            ("number", Number),
            ("started", Number),
            ("mark", Number),
        ],
        key: 1,
        row_bytes: SMALL,
    },
    Kind {
        name: "dead",
        columns: &[
            ("id", Number),
            ("key", Text),
            ("sink", Number),
            ("lane", Number),
            ("rank", Number),
            ("accepted", Number),
            ("died", Number),
            ("attempts", Number),
            ("number", Number),
            ("reason", Text),
            ("order_json", Json),
        ],
        key: 1,
        row_bytes: LETTER,
    },
    Kind {
        name: "session",
        columns: &[
            ("bridge", Text),
            ("thread", Text),
            ("contact", Number),
            ("source_id", Text),
            ("conversation", Number),
            ("resolved", Truth),
            ("profile", Number),
            ("home", Number),
        ],
        key: 2,
        row_bytes: SMALL,
    },
    Kind { name: "cursor", columns: &[("scope", Text), ("name", Text), ("value", Text)], key: 2, row_bytes: SMALL },
    Kind {
        name: "kept",
        columns: &[("n", Number), ("id", Text), ("scope", Text), ("name", Text), ("bytes", Bytes)],
        key: 1,
        row_bytes: FILE,
    },
    Kind {
        name: "blob",
        columns: &[("id", Text), ("made", Number), ("scope", Text), ("name", Text)],
        key: 1,
        row_bytes: SMALL,
    },
];
