//! A few seeds of the simulation, so that every run of the tests has some; `cargo sim` runs thousands.

use xfiles_tests::sim::{self, Kit};

#[test]
fn thirty_seeds_hold_every_promise() {
    let kit = Kit::default();
    for seed in 0..30 {
        if let Err(broken) = sim::run(&kit, seed, false) {
            panic!("seed {seed}: {broken}; replay: cargo sim --seeds 1 --from {seed}");
        }
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let kit = Kit::default();
    for seed in 100..105 {
        assert_eq!(sim::run(&kit, seed, false), sim::run(&kit, seed, false), "seed {seed}");
    }
}
