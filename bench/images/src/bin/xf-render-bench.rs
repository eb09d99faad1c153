//! Renders one variant repeatedly with the worker's own `render`, from input bytes to output bytes, and prints the
//! times.

use std::{fs, path::PathBuf, process::ExitCode, thread, time::Instant};

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use xfiles_core::variant::{ImageFormat, VariantSpec, Width};
use xfiles_edge_variants::render::render;

/// Renders one variant repeatedly and prints a line of JSON: {"wall_ms":[…],"cpu_ms":[…],"bytes":N,"maxrss_kb":N}.
#[derive(Parser)]
#[command(name = "xf-render-bench")]
struct Args {
    /// The original.
    #[arg(long)]
    input: PathBuf,
    /// A variant width: 100, 300, 400, 600, 800, 1000 or 1200.
    #[arg(long)]
    width: Width,
    /// webp, jpeg, png or avif.
    #[arg(long, value_parser = format)]
    format: ImageFormat,
    /// The quality. The worker has at most one for each format, so only that is accepted.
    #[arg(long)]
    quality: Option<u8>,
    /// The number of concurrent renders; each time is then that of all of them.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The number of renders before the measurement.
    #[arg(long, default_value_t = 1)]
    warm: usize,
    /// The number of measured renders.
    #[arg(long, default_value_t = 5)]
    iters: usize,
    /// The file for the variant.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xf-render-bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let quality = fixed_quality(args.format);
    if args.quality.is_some_and(|asked| Some(asked) != quality) {
        return Err(match quality {
            Some(quality) => format!("--quality: the worker renders this format only at {quality}"),
            None => "--quality: this format has no quality".to_owned(),
        });
    }
    let original = fs::read(&args.input).map_err(|error| format!("{}: {error}", args.input.display()))?;
    let spec = VariantSpec { width: args.width, format: args.format };
    let (mut wall, mut cpu, mut variant) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.warm + args.iters.max(1) {
        let (started, used) = (Instant::now(), cpu_ms());
        variant = render_on(args.threads.max(1), &original, spec)?;
        if round >= args.warm {
            wall.push(started.elapsed().as_secs_f64() * 1e3);
            cpu.push(cpu_ms() - used);
        }
    }
    if let Some(path) = &args.out {
        fs::write(path, &variant).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("{}", json!({"wall_ms": wall, "cpu_ms": cpu, "bytes": variant.len(), "maxrss_kb": peak_kb()?}));
    Ok(())
}

fn render_on(threads: usize, original: &[u8], spec: VariantSpec) -> Result<Vec<u8>, String> {
    let once = || render(original, spec).map(|variant| variant.bytes).map_err(|refusal| refusal.to_string());
    if threads == 1 {
        return once();
    }
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(once)).collect();
        let done = all.into_iter().map(|one| one.join().expect("render does not panic"));
        done.reduce(|first, next| first.and(next)).expect("there is at least one")
    })
}

fn format(name: &str) -> Result<ImageFormat, String> {
    match name {
        "webp" => Ok(ImageFormat::WebP),
        "jpeg" => Ok(ImageFormat::Jpeg),
        "png" => Ok(ImageFormat::Png),
        "avif" => Ok(ImageFormat::Avif),
        _ => Err("formats are webp, jpeg, png and avif".to_owned()),
    }
}

fn fixed_quality(format: ImageFormat) -> Option<u8> {
    match format {
        ImageFormat::WebP => Some(80),
        ImageFormat::Avif => Some(68),
        // JPEG has its own quantization steps, which no quality scales.
        ImageFormat::Jpeg | ImageFormat::Auto | ImageFormat::Png => None,
    }
}

/// The processor time of all threads of the process, in milliseconds.
fn cpu_ms() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

/// The peak resident memory of the process, in KiB.
fn peak_kb() -> Result<u64, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| "the system does not report the peak resident memory".to_owned())
}
