//! Log set-up and the state board.
