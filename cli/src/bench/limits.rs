//! The limits of every kernel on this machine: the peak rate of its multiply-add instruction, the bandwidth of reading
//! caches and memory, and the time of the smallest call. Peaks and bandwidths are measured on all threads of the current
//! rayon pool at once.

use crate::arguments::machine::dispatch;
use crate::bench::timing::times;
use crate::memory::room;
use anyhow::Result;
use multiversion::multiversion;
use qgemm::{Caches, ElementType, Gemm, Isa, MatMut, MatRef, PackedB};
use qgemm_kernels::Features;
use qgemm_kernels::peak;
use qgemm_kernels::prefer_huge;
use std::hint::black_box;
use std::time::Instant;

/// A measured limit.
pub struct Limit {
    pub kind: LimitKind,
    /// The instruction of a peak, the level of memory (`L2`, `L3`, `DRAM`) of a bandwidth, or `call`.
    pub name: &'static str,
    pub seconds: f64,
    /// GMAC/s of a peak, GB/s of a bandwidth, millions of calls a second.
    pub rate: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LimitKind {
    /// The peak of the kernels of an instruction set.
    Peak(Isa),
    ReadBandwidth,
    /// A call with the kernels of an instruction set, whatever it multiplies.
    Call(Isa),
}

impl LimitKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Peak(_) => "peak",
            Self::ReadBandwidth => "read",
            Self::Call(_) => "call",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Peak(_) => "GMAC/s",
            Self::ReadBandwidth => "GB/s",
            Self::Call(_) => "million calls/s",
        }
    }

    /// The instruction set whose kernels it bounds; `None` for all.
    pub fn isa(self) -> Option<Isa> {
        match self {
            Self::Peak(isa) | Self::Call(isa) => Some(isa),
            Self::ReadBandwidth => None,
        }
    }
}

/// Iterations of the peak probe's loop: about 20 ms, so that the time to start the threads does not count.
const ITERATIONS: u32 = 3_000_000;

/// The peak of the instruction that the kernels of `isa` are built on, if there is a probe for it.
pub fn peak(isa: Isa, quick: bool) -> Option<Limit> {
    let name = peak::instruction(isa)?;
    let features = Features::detect();
    let iterations = if quick { ITERATIONS / 1000 } else { ITERATIONS };
    let mut macs = 0;
    let seconds = least_seconds(quick, || {
        macs = rayon::broadcast(|_| peak::run(&features, isa, iterations).unwrap_or(0)).iter().sum();
    });
    let rate = macs as f64 / seconds / 1e9;
    (macs > 0).then_some(Limit { kind: LimitKind::Peak(isa), name, seconds, rate })
}

/// A product of 1 x 1 x 1 by the kernels of `isa`, B packed ahead, called by this thread.
pub fn call(isa: Isa) -> Result<Limit> {
    let packed =
        PackedB::pack_with(&dispatch(isa.name())?, MatRef::row_major(&[1i8], 1, 1)?, ElementType::U8)?;
    let (a, mut c) = ([1u8], [0i32]);
    let product = Gemm::new(MatRef::row_major(&a, 1, 1)?, &packed);
    let seconds = times(false, || product.run_i32(MatMut::row_major(&mut c, 1, 1)?))?.least;
    Ok(Limit { kind: LimitKind::Call(isa), name: "call", seconds, rate: 1e-6 / seconds })
}

/// The bandwidths of reading L2, L3 and memory, the best of several orders: one stream, or two or four side by side. Each
/// thread reads its own part of a buffer again and again. For L2 a part is half of it. For L3 the parts together are half of it,
/// 16 MiB at most, or twice all L2 if that is more. For memory they are four times L3, or 256 MiB if that is more.
pub fn bandwidths(quick: bool) -> Result<Vec<Limit>> {
    let caches = Caches::detect();
    let threads = rayon::current_num_threads();
    let memory = (4 * caches.l3).max(256 << 20);
    let mut levels = vec![("L2", caches.l2 / 2 * threads)];
    // Others use a large L3 too: 130 of 260 MiB are read at the speed of memory on a busy host.
    let l3 = (caches.l3 / 2).min(16 << 20).max(2 * caches.l2 * threads);
    // An L3 that is absent or not much larger than all L2 cannot be measured apart from them.
    if l3 < caches.l3 {
        levels.push(("L3", l3));
    }
    levels.push(("DRAM", memory));
    levels.into_iter().map(|(name, bytes)| bandwidth(name, bytes, quick)).collect()
}

fn bandwidth(name: &'static str, bytes: usize, quick: bool) -> Result<Limit> {
    // Numbers per thread, a multiple of what `sum` adds at once.
    let granule = NUMBERS_AT_ONCE * STREAMS[STREAMS.len() - 1];
    let part = (bytes / size_of::<u64>() / rayon::current_num_threads()).next_multiple_of(granule);
    let len = part * rayon::current_num_threads();
    let mut data: Vec<u64> = room("read_bw", name, len)?;
    // As packed weights have them.
    prefer_huge(data.spare_capacity_mut());
    // Not zeros: Linux maps all pages of fresh zeros to one physical page until they are written.
    data.extend(0..len as u64);
    // Each thread reads at least 256 MiB, a short part several times.
    let passes = if quick { 1 } else { (256usize << 20).div_ceil(part * size_of::<u64>()) };
    let in_streams = STREAMS.map(|streams| {
        least_seconds(quick, || {
            let sums = rayon::broadcast(|thread| {
                let part = &data[thread.index() * part..][..part];
                (0..passes).fold(0u64, |total, _| total.wrapping_add(sum(black_box(part), streams)))
            });
            black_box(sums);
        })
    });
    let seconds = in_streams.into_iter().fold(f64::INFINITY, f64::min);
    let rate = (size_of_val(&data[..]) * passes) as f64 / seconds / 1e9;
    Ok(Limit { kind: LimitKind::ReadBandwidth, name, seconds, rate })
}

/// Numbers that are added side by side: 8 vectors of 64 bytes, so that additions do not wait for each other.
const NUMBERS_AT_ONCE: usize = 64;

/// The numbers of places that are read side by side: some CPUs read one stream fastest, others several.
const STREAMS: [usize; 3] = [1, 2, 4];

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn sum(data: &[u64], streams: usize) -> u64 {
    let mut sums = [0u64; NUMBERS_AT_ONCE];
    let len = data.len() / streams;
    for at in (0..len).step_by(NUMBERS_AT_ONCE) {
        for stream in 0..streams {
            let line = &data[stream * len + at..][..NUMBERS_AT_ONCE];
            for (sum, x) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(*x);
            }
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// The least time in seconds, over at least 5 runs and 0.3 s, after a run that is not timed. With `quick`, one
/// timed run.
fn least_seconds(quick: bool, mut run: impl FnMut()) -> f64 {
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
