//! Random bytes of the operating system; in a simulated run, bytes that follow from the run's seed.

/// Random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    #[cfg(feature = "simulation")]
    if let Some(bytes) = simulation::seeded() {
        return bytes;
    }
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

/// As many random bytes, in hexadecimal digits.
pub fn hex<const BYTES: usize>() -> String {
    ::hex::encode(bytes::<BYTES>())
}

/// Random bytes that come again when a simulated run is repeated.
#[cfg(feature = "simulation")]
pub mod simulation {
    use std::cell::RefCell;

    use sha2::{Digest as _, Sha256};

    thread_local! {
        static SEED: RefCell<Option<(u64, u64)>> = const { RefCell::new(None) };
    }

    /// From now on the random bytes of this thread follow from the seed; `None`: they are random again.
    pub fn seed_this_thread(seed: Option<u64>) {
        SEED.set(seed.map(|seed| (seed, 0)));
    }

    /// The next bytes that follow from this thread's seed, if it has one.
    pub(super) fn seeded<const N: usize>() -> Option<[u8; N]> {
        SEED.with_borrow_mut(|state| {
            let (seed, drawn) = state.as_mut()?;
            let mut raw = [0; N];
            for piece in raw.chunks_mut(32) {
                *drawn += 1;
                let digest = Sha256::digest([seed.to_be_bytes(), drawn.to_be_bytes()].concat());
                piece.copy_from_slice(&digest[..piece.len()]);
            }
            Some(raw)
        })
    }
}
