//! The limit that binds a case: that of the machine's limits which leaves it the longest time.

use crate::bench::limits::{Limit, LimitKind};
use crate::bench::variants::{GroupVariant, Variant, Work};
use crate::shape::Shape;
use qgemm::{Caches, Isa};

/// The limit that binds, and the least time that it allows.
#[derive(Debug, PartialEq)]
pub struct Bound {
    /// `peak` for the peak of the instruction, the level of memory, or `call`.
    pub name: &'static str,
    pub seconds: f64,
}

/// The limit that binds a variant of a shape with kernels of an instruction set, of those that were measured on `threads`
/// threads; `None` if none of them bounds it.
///
/// The multiply-adds take the time of the peak, and no call takes less than the smallest one. The bytes of A, B and C are those of the call before: what the caches above
/// a level hold of them at most is not read from it again, all else once at least. Writing takes as long as reading or
/// longer.
pub fn binding(
    limits: &[Limit],
    caches: Caches,
    threads: usize,
    isa: Option<Isa>,
    (variant, shape): (&Variant, Shape),
) -> Option<Bound> {
    let bound = |limit: &Limit| {
        let (name, work) = match limit.kind {
            LimitKind::Peak(of) | LimitKind::Call(of) if Some(of) != isa || variant.work == Work::Pack => {
                return None;
            }
            LimitKind::Peak(_) => ("peak", shape.macs()),
            LimitKind::Call(_) => return Some(Bound { name: limit.name, seconds: limit.seconds }),
            LimitKind::ReadBandwidth => {
                let held = match limit.name {
                    "L2" => caches.l1d * threads,
                    "L3" => caches.l2 * threads,
                    _ => caches.l3.max(caches.l2 * threads),
                };
                (limit.name, operand_bytes(variant, shape) - held as f64)
            }
        };
        (work > 0.0).then(|| Bound { name, seconds: work / limit.rate / 1e9 })
    };
    limits.iter().filter_map(bound).max_by(|x, y| x.seconds.total_cmp(&y.seconds))
}

/// The bytes of A, B and C, each counted once.
pub fn operand_bytes(variant: &Variant, Shape { m, k, n }: Shape) -> f64 {
    let (m, k, n) = (m as f64, k as f64, n as f64);
    // Of B a value has a byte, unless it has fewer bits and a share of a scale.
    let of_b = match variant.work {
        Work::Groupwise(GroupVariant { bits, group, .. }) => bits.bits() as f64 / 8.0 + 4.0 / group as f64,
        _ => 1.0,
    };
    let (of_a, of_c) = match variant.work {
        // B is read, and written as panels.
        Work::Pack => return 2.0 * k * n,
        Work::Sums | Work::SumsOfUnpackedB | Work::SumsWithBZero => (1.0, 4.0),
        Work::Requantize | Work::RequantizeFixedPoint | Work::RequantizeFarZero => (1.0, 1.0),
        Work::Dynamic | Work::Groupwise(_) => (4.0, 4.0),
    };
    of_a * m * k + of_b * k * n + of_c * m * n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::variants::VARIANTS;

    const CACHES: Caches = Caches { l1d: 32 << 10, l2: 1 << 20, l3: 16 << 20 };

    fn bound(variant: &str, m: usize, k: usize, n: usize) -> Option<Bound> {
        let limit = |kind, name, rate| Limit { kind, name, seconds: 1.0, rate };
        let limits = [
            limit(LimitKind::Peak(Isa::Avx2), "vpmaddwd", 100.0),
            limit(LimitKind::Peak(Isa::Avx512Vnni), "vpdpbusd-512", 200.0),
            limit(LimitKind::ReadBandwidth, "L2", 100.0),
            limit(LimitKind::ReadBandwidth, "L3", 50.0),
            limit(LimitKind::ReadBandwidth, "DRAM", 20.0),
            Limit { kind: LimitKind::Call(Isa::Avx512Vnni), name: "call", seconds: 1e-7, rate: 10.0 },
        ];
        let variant = VARIANTS.iter().find(|v| v.name == variant).unwrap();
        binding(&limits, CACHES, 1, Some(Isa::Avx512Vnni), (variant, Shape { m, k, n }))
    }

    /// As `bound`, in bytes of the level.
    fn of(variant: &str, m: usize, k: usize, n: usize) -> (&'static str, f64) {
        let Bound { name, seconds } = bound(variant, m, k, n).unwrap();
        let rate = match name {
            "peak" => 200.0,
            "L2" => 100.0,
            "L3" => 50.0,
            _ => 20.0,
        };
        (name, (seconds * rate * 1e9).round())
    }

    #[test]
    fn the_longest_time_binds() {
        assert_eq!(of("u8s8s32", 512, 512, 512), ("peak", 512.0 * 512.0 * 512.0));
        let bytes = |m: f64, k: f64, n: f64| m * k + k * n + 4.0 * m * n;
        assert_eq!(of("u8s8s32", 1, 768, 768), ("L2", bytes(1.0, 768.0, 768.0) - 32768.0));
        assert_eq!(of("u8s8s32", 1, 2048, 2048), ("L3", bytes(1.0, 2048.0, 2048.0) - 1048576.0));
        assert_eq!(of("u8s8s32", 1, 8192, 8192), ("DRAM", bytes(1.0, 8192.0, 8192.0) - 16777216.0));
        assert_eq!(
            of("f32_dynamic", 8192, 4096, 1),
            ("DRAM", 8192.0 * 16384.0 + 4096.0 + 32768.0 - 16777216.0)
        );
    }

    #[test]
    fn no_call_takes_less_than_the_smallest() {
        // 20,000 multiply-adds take the time of a call.
        assert_eq!(bound("u8s8s32", 19, 32, 32), Some(Bound { name: "call", seconds: 1e-7 }));
        assert_eq!(of("u8s8s32", 20, 32, 32), ("peak", 20480.0));
    }

    #[test]
    fn weights_of_four_bits_take_half_a_byte_and_their_scales() {
        assert_eq!(of("w4g32", 1, 8192, 8192), ("DRAM", (0.5 + 0.125) * 67108864.0 + 65536.0 - 16777216.0));
    }

    #[test]
    fn packing_multiplies_nothing() {
        assert_eq!(of("pack", 1, 1024, 1024), ("L3", 1048576.0));
        assert_eq!(bound("pack", 1, 16, 16), None);
    }
}
