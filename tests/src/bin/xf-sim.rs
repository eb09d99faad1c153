//! Runs the simulation over a range of seeds.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use clap::Parser;
use xfiles_tests::sim::{self, Kit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulates seeded schedules of everything that XFiles does, with faults, and checks every promise.
#[derive(Parser)]
#[command(name = "cargo sim")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many run at once; by default as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Tell everything that happened in a seed that failed; always so for a single seed.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let Arguments { seeds, from, threads, trace } = Arguments::parse();
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let trace = trace || seeds == 1;
    let kit = Kit::default();
    let (next, failed) = (AtomicU64::new(from), AtomicU64::new(0));
    let (operations, requests) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - from >= seeds {
                        return;
                    }
                    let ended = catch_unwind(AssertUnwindSafe(|| sim::run(&kit, seed, trace)));
                    match ended.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                        Ok(run) => {
                            operations.fetch_add(run.operations as u64, Ordering::Relaxed);
                            requests.fetch_add(run.requests as u64, Ordering::Relaxed);
                        }
                        Err(broken) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("seed {seed}: {broken}\n  replay: cargo sim --seeds 1 --from {seed}");
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!(
        "{} operations and {} requests in {:.1} s",
        operations.into_inner(),
        requests.into_inner(),
        began.elapsed().as_secs_f64()
    );
    println!("{} passed, {failed} failed", seeds - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
