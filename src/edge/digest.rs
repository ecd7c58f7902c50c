//! Secrets that are told apart by their SHA-256.
//!
//! A table of them is looked into by the whole digest under a random hash, and where two
//! digests are compared, all bytes are: no step takes longer because more bytes are right. So
//! the time of a look-up tells nothing, by construction.

use std::hash::{Hash, Hasher};

use sha2::Sha256;
use subtle::ConstantTimeEq;

/// SHA-256 of a secret. Compared in constant time, inside of tables too.
#[derive(Clone, Copy)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(secret: &str) -> Self {
        Self(<Sha256 as sha2::Digest>::digest(secret.as_bytes()).into())
    }

    pub(crate) const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        tests::COMPARED.with(|count| count.set(count.get() + 1));
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashMap;

    use super::*;

    thread_local! {
        /// Comparisons of this thread.
        pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn a_look_up_does_not_walk_and_does_not_stop_early() {
        let key = |index: usize| format!("cmx_{index:040}");
        let table: HashMap<_, _> = (0..10_000).map(|i| (Digest::of(&key(i)), i)).collect();
        let compared = |text: &str| {
            COMPARED.with(|count| count.set(0));
            let found = table.get(&Digest::of(text)).copied();
            (found, COMPARED.with(Cell::get))
        };
        assert_eq!(compared(&key(4711)).0, Some(4711));
        // However much of a key is right, the table is left after a handful of comparisons,
        // each of which looks at all bytes.
        let whole = key(4711);
        for right in 0..whole.len() {
            let guess: String =
                whole.chars().take(right).chain("x".repeat(whole.len() - right).chars()).collect();
            let (found, count) = compared(&guess);
            assert_eq!(found, None);
            assert!(count <= 8, "{count} comparisons for {guess}");
        }
    }

    #[test]
    fn digests_that_share_bytes_are_no_more_equal() {
        let whole = Digest::of("secret");
        assert!(whole == Digest::new(whole.0));
        for at in 0..32 {
            let mut bytes = whole.0;
            bytes[at] ^= 1;
            assert!(whole != Digest::new(bytes), "{at}");
        }
    }
}
