//! The measurements of a run: each variant of each shape on each dispatch, and the limits that bound them.

use crate::bench::expected::Expected;
use crate::bench::groupwise::GroupCase;
use crate::bench::limits::{bandwidths, call, peak};
use crate::bench::measure::Job;
use crate::bench::operands::Operands;
use crate::bench::peers::Peer;
use crate::bench::table::{Row, Table};
use crate::bench::variants::{Variant, Work};
use crate::shape::Shape;
use anyhow::Result;
use qgemm::{CodeBits, Dispatch, Isa, Threads};
use qgemm_kernels::GROUP_TABLE;
use rayon::ThreadPool;

pub struct Plan {
    pub shapes: Vec<Shape>,
    pub variants: Vec<&'static Variant>,
    pub dispatches: Vec<Dispatch>,
    /// Those for group-wise weights.
    pub group_dispatches: Vec<Dispatch>,
    /// A variant needs A as floats.
    pub with_floats: bool,
    /// Each call is made once.
    pub quick: bool,
    pub pool: ThreadPool,
}

impl Plan {
    /// The number of rows of the table.
    pub fn measurements(&self, peers: &[Peer<'_>]) -> usize {
        let by_peers =
            self.variants.iter().flat_map(|variant| peers.iter().filter(|peer| peer.takes(variant)));
        let by_groups = self.variants.iter().filter(|variant| variant.is_groupwise()).count();
        let others = self.variants.len() - by_groups;
        let ours = others * self.dispatches.len() + by_groups * self.group_dispatches.len();
        self.shapes.len() * (ours + by_peers.count())
    }

    /// Measures all cases on this thread, those of other libraries on one of the pool.
    pub fn measure(&self, table: &mut Table<'_>, peers: &mut [Peer<'_>]) -> Result<()> {
        let threads = Threads::at_most(self.pool.current_num_threads());
        // The first call of all takes longest.
        for isa in self.isas().filter(|_| !self.quick) {
            table.limit(call(isa)?)?;
        }
        for &shape in &self.shapes {
            let operands = Operands::new(shape, self.with_floats)?;
            for &variant in &self.variants {
                if let Work::Groupwise(of) = variant.work {
                    let case = GroupCase::new(of, &operands)?;
                    for dispatch in &self.group_dispatches {
                        let measured = case.measure(dispatch, threads, self.quick)?;
                        let isa = isa_of_peak(measured.kernel, of.bits);
                        table.row(&Row { shape, variant, isa, measured })?;
                    }
                    continue;
                }
                let expected = Expected::new(variant, &operands);
                for dispatch in &self.dispatches {
                    let job = Job { variant, operands: &operands, expected: &expected, dispatch, threads };
                    let measured = job.measure(self.quick)?;
                    let kernel = dispatch.kernels().find(|kernel| kernel.name == measured.kernel);
                    table.row(&Row { shape, variant, isa: kernel.map(|kernel| kernel.isa), measured })?;
                }
                for peer in peers.iter_mut().filter(|peer| peer.takes(variant)) {
                    let how = (self.pool.current_num_threads(), self.quick);
                    let (measured, error) =
                        self.pool.install(|| peer.measured(variant, &operands, &expected, how))?;
                    table.peer(peer, (variant, shape), measured, error)?;
                }
            }
        }
        Ok(())
    }

    /// Measures peaks and bandwidths on all threads of the pool.
    pub fn measure_limits(&self, table: &mut Table<'_>) -> Result<()> {
        let peak = |isa| self.pool.install(|| peak(isa, self.quick));
        self.isas().filter_map(peak).try_for_each(|limit| table.limit(limit))?;
        let bandwidths = self.pool.install(|| bandwidths(self.quick))?;
        bandwidths.into_iter().try_for_each(|limit| table.limit(limit))
    }

    /// Measures peaks once more, on all threads of the pool. With `quick` they say nothing.
    pub fn measure_peaks_again(&self, table: &mut Table<'_>) -> Result<()> {
        let peak = |isa| self.pool.install(|| peak(isa, false));
        let peaks = self.isas().filter(|_| !self.quick).filter_map(peak);
        peaks.into_iter().try_for_each(|limit| table.peak_after(&limit))
    }

    /// The instruction sets whose kernels are measured.
    fn isas(&self) -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| self.uses(*isa))
    }

    fn uses(&self, isa: Isa) -> bool {
        let of_columns = |dispatch: &Dispatch| dispatch.kernels().any(|kernel| kernel.isa == isa);
        let of_groups = |dispatch: &Dispatch| {
            GROUP_TABLE.iter().any(|kernel| kernel.isa == isa && kernel.name == dispatch.groupwise_kernel())
        };
        let by_groups = |variant: &&Variant| variant.is_groupwise();
        self.dispatches.iter().any(of_columns)
            || self.variants.iter().any(by_groups) && self.group_dispatches.iter().any(of_groups)
    }
}

/// The instruction set of a group-wise kernel, if the peak of that bounds products of weights of so many bits.
fn isa_of_peak(kernel: &str, bits: CodeBits) -> Option<Isa> {
    let isa = GROUP_TABLE.iter().find(|one| one.name == kernel)?.isa;
    // These multiply 4 bits by `vpmaddubsw`, twice as fast as by the instruction of their peak.
    let is_faster = bits == CodeBits::Four && matches!(isa, Isa::Avx2 | Isa::Avx512Bw);
    (!is_faster).then_some(isa)
}
