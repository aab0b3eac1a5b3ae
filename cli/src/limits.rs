//! What bounds every kernel on this machine: how fast its instruction runs by itself, and how fast
//! memory is read. Measured in the current rayon pool, on all of its threads at once.

use anyhow::Result;
use multiversion::multiversion;
use qgemm::{Caches, Isa};
use qgemm_kernels::Features;
use qgemm_kernels::peak;
use std::hint::black_box;
use std::time::Instant;

/// A limit, as a row of the benchmark shows it.
pub struct Limit {
    /// `peak` or `read_bw`.
    pub variant: &'static str,
    /// The instruction, or the level of the memory.
    pub what: &'static str,
    /// The instruction set whose kernels it bounds, for a peak.
    pub isa: Option<Isa>,
    pub seconds: f64,
    /// GMAC/s, or GB/s.
    pub rate: f64,
}

/// Turns of the peak probe's loop: some 20 ms, next to which starting the threads is nothing.
const TURNS: u32 = 3_000_000;

/// The peak of the instruction that the kernels of `isa` are built on, if there is a probe for it.
pub fn peak(isa: Isa, quick: bool) -> Option<Limit> {
    let what = peak::instruction(isa)?;
    let features = Features::detect();
    let turns = if quick { TURNS / 1000 } else { TURNS };
    let mut macs = 0;
    let seconds = best(quick, || {
        macs = rayon::broadcast(|_| peak::run(&features, isa, turns).unwrap_or(0)).iter().sum();
    });
    (macs > 0).then(|| Limit {
        variant: "peak",
        what,
        isa: Some(isa),
        seconds,
        rate: macs as f64 / seconds / 1e9,
    })
}

/// Read bandwidths. Each thread reads its own part of the buffer again and again; a part is half of
/// the L2, or the parts together half of the L3 (but more than L2), or far more than the caches hold.
pub fn bandwidths(quick: bool) -> Result<Vec<Limit>> {
    let caches = Caches::detect();
    let threads = rayon::current_num_threads();
    let beyond = (4 * caches.l3).max(256 << 20);
    let mut levels = vec![("L2", caches.l2 / 2 * threads)];
    // Where the L3 is small or absent there is nothing between L2 and memory to measure.
    let l3 = (caches.l3 / 2).max(2 * caches.l2 * threads);
    if l3 < caches.l3 {
        levels.push(("L3", l3));
    }
    levels.push(("DRAM", beyond));
    levels.into_iter().map(|(what, bytes)| bandwidth(what, bytes, quick)).collect()
}

fn bandwidth(what: &'static str, bytes: usize, quick: bool) -> Result<Limit> {
    // Whole lines for each thread.
    let part = (bytes / size_of::<u64>() / rayon::current_num_threads()).next_multiple_of(LINES);
    let mut data: Vec<u64> = crate::input::zeros("read_bw", what, part * rayon::current_num_threads())?;
    // Zeros may all be one page of memory, until written.
    data.iter_mut().enumerate().for_each(|(i, x)| *x = i as u64);
    // Several times over where a pass is short.
    let passes = if quick { 1 } else { (256usize << 20).div_ceil(part * size_of::<u64>()) };
    let seconds = best(quick, || {
        let sums = rayon::broadcast(|thread| {
            let part = &data[thread.index() * part..][..part];
            (0..passes).fold(0u64, |total, _| total.wrapping_add(sum(black_box(part))))
        });
        black_box(sums);
    });
    let rate = (size_of_val(&data[..]) * passes) as f64 / seconds / 1e9;
    Ok(Limit { variant: "read_bw", what, isa: None, seconds, rate })
}

/// Numbers that are read side by side: 8 vectors of 64 bytes, added up independently.
const LINES: usize = 64;

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn sum(data: &[u64]) -> u64 {
    let mut sums = [0u64; LINES];
    for line in data.chunks_exact(LINES) {
        for (sum, x) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(*x);
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// The least time of at least 5 runs and 0.3 s, after one that does not count.
fn best(quick: bool, mut run: impl FnMut()) -> f64 {
    run();
    let mut best = f64::INFINITY;
    let (start, mut runs) = (Instant::now(), 0);
    loop {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed().as_secs_f64());
        runs += 1;
        if quick || (runs >= 5 && start.elapsed().as_secs_f64() >= 0.3) {
            return best;
        }
    }
}
