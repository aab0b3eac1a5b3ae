//! The right-hand matrix, packed once for many products.

use crate::dispatch::select::{Dispatch, KernelInfo};
use crate::element::ElementType;
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::trace::{self, Call};
use crate::weights::pack::{PackSource, StatsNeeded};
use crate::weights::packed_columns::PackedColumns;
use std::fmt;

/// B, a K×N matrix of `i8` or `u8`, in the layout that a kernel reads, with the column statistics that exact sums need.
///
/// Packed once, used by any number of products and threads. Its elements are of one byte (two for the portable kernel and
/// those whose name ends in `c1`), K and N rounded up: K to KR of the kernel, N to 16 for vectors of 512 bits and to 8 for
/// others, and not at all where x86 kernels are chosen for a B of less than 8 columns. At most 24 bytes per column, of 16
/// columns at least, and 40 per panel of NR columns come on top. Zero points are not part of it.
#[derive(Clone)]
pub struct PackedB {
    pub(crate) columns: PackedColumns,
}

impl fmt::Debug for PackedB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedB")
            .field("k", &self.k())
            .field("n", &self.n())
            .field("element_type", &self.element_type())
            .field("packed_for", &self.packed_for())
            .field("kernel", &self.kernel().name)
            .finish_non_exhaustive()
    }
}

impl PackedB {
    /// Packs `b` (K×N) for the kernel that suits it and this CPU, and for activations of `u8`. Products with activations of
    /// `i8` give the same results, a little slower on some CPUs: see [`pack_for`](Self::pack_for).
    ///
    /// A weight that is stored as [N, K], such as that of a PyTorch `Linear`, is packed as its transpose:
    /// `PackedB::pack(view.transpose())`.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough, [`Error::Kernel`] if `QGEMM_ISA` is wrong, [`Error::Variable`] if
    /// `QGEMM_CACHES` or `QGEMM_VERBOSE` is.
    pub fn pack<'a>(b: impl Into<Operand<'a>>) -> Result<Self, Error> {
        Self::pack_for(b, ElementType::U8)
    }

    /// [`pack`](Self::pack), for activations of the given type.
    ///
    /// # Errors
    /// Those of [`pack`](Self::pack).
    pub fn pack_for<'a>(b: impl Into<Operand<'a>>, activations: ElementType) -> Result<Self, Error> {
        Self::pack_with(Dispatch::auto()?, b, activations)
    }

    /// [`pack_for`](Self::pack_for), for one of the given kernels.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough, [`Error::Variable`] if `QGEMM_VERBOSE` is wrong.
    pub fn pack_with<'a>(
        dispatch: &Dispatch,
        b: impl Into<Operand<'a>>,
        activations: ElementType,
    ) -> Result<Self, Error> {
        let source = PackSource { b: b.into(), activations, dispatch };
        let pack = || {
            let mut columns = PackedColumns::empty(&source);
            columns.pack(&source, 0..source.b.cols(), StatsNeeded::All)?;
            Ok(Self { columns })
        };
        if trace::is_silent() || !trace::is_heard()? {
            return pack();
        }
        trace::tell(packing(&source), pack)
    }

    /// K, the number of rows.
    pub fn k(&self) -> usize {
        self.columns.k()
    }

    /// N, the number of columns.
    pub fn n(&self) -> usize {
        self.columns.n()
    }

    /// The type of the elements that were packed.
    pub fn element_type(&self) -> ElementType {
        self.columns.element_type()
    }

    /// The type of activations that it was packed for.
    pub fn packed_for(&self) -> ElementType {
        self.columns.activations()
    }

    /// The kernel whose layout it has; the name tells the layout. Panels that are proven to allow a faster kernel
    /// have that one's layout: see [`panel_kernels`](Self::panel_kernels).
    pub fn kernel(&self) -> KernelInfo {
        KernelInfo::of(&self.columns.kernel())
    }

    /// The kernel of each panel, that is, of each `kernel().nr` columns.
    pub fn panel_kernels(&self) -> impl ExactSizeIterator<Item = KernelInfo> {
        self.columns.panels().iter().map(|panel| KernelInfo::of(&panel.kernel))
    }

    /// The memory it takes, in bytes, with what it shares.
    pub fn bytes(&self) -> usize {
        self.columns.bytes()
    }

    /// The value of element (k, j); `None` if there is none.
    pub fn get(&self, k: usize, j: usize) -> Option<i32> {
        self.columns.get(k, j)
    }
}

/// Packing, in words.
fn packing(source: &PackSource<'_>) -> Call {
    let PackSource { b, activations, dispatch } = source;
    let (k, n) = (b.rows(), b.cols());
    Call {
        kind: "pack",
        a: String::new(),
        b: format!("{} {k}x{n}", b.element),
        c: "panels".into(),
        stage: format!("for {activations}"),
        kernel: dispatch.choose(k, n).name,
        blocks: String::new(),
        threads: None,
    }
}
