//! The kernels that a product may use: the best of this CPU, or those of a name.

use crate::buffer;
use crate::dispatch::amx_overhead::amx_overhead;
use crate::dispatch::caches::caches;
use crate::error::Error;
use qgemm_kernels::{
    Amx, Caches, Features, GROUP_TABLE, GroupReady, Isa, Kernel, MAX_VECTOR_GROUP, Ready, TABLE, amx,
};
use std::cmp::Reverse;
use std::sync::OnceLock;

/// The environment variable that names an instruction set or a kernel.
const VARIABLE: &str = "QGEMM_ISA";

/// The properties of a kernel that its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelInfo {
    /// Instruction set, MRxNR, KR after the `c`, k-groups summed in 16 bits (if any) after the `s`: `avx512vnni-6x64c4`.
    pub name: &'static str,
    /// The instruction set.
    pub isa: Isa,
    /// The most rows of a tile.
    pub mr: usize,
    /// The columns of a panel.
    pub nr: usize,
    /// The values of k that lie side by side in a panel.
    pub kr: usize,
    /// The k-groups that it sums in 16 bits, which is exact only for panels proven to allow it; 0 for a kernel that is
    /// exact for every B.
    pub i16_groups: usize,
}

impl KernelInfo {
    pub(crate) fn of(kernel: &Kernel) -> Self {
        let Kernel { name, isa, mr, nr, kr, i16_groups, .. } = *kernel;
        Self { name, isa, mr, nr, kr, i16_groups }
    }
}

/// The kernels to choose from when a matrix is packed: all of one instruction set, or one and those that it needs for
/// panels without a proof.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Kernels that are exact for every B, by ascending panel width. Never empty.
    kernels: Vec<Ready>,
    /// Kernels that are exact for panels with a proof, those of the most k-groups in 16 bits first.
    proven: Vec<Ready>,
    /// The kernel for group-wise weights.
    groupwise: GroupReady,
    caches: Caches,
}

impl Dispatch {
    /// The widest instruction set of this CPU, or what the environment variable `QGEMM_ISA` names.
    /// Decided once per process.
    ///
    /// # Errors
    /// [`Error::Kernel`] if `QGEMM_ISA` names nothing that runs here, [`Error::Variable`] if `QGEMM_CACHES` is
    /// no list of cache sizes or `QGEMM_AMX_OVERHEAD` no number of cycles.
    pub fn auto() -> Result<&'static Self, Error> {
        static AUTO: OnceLock<Result<Dispatch, Error>> = OnceLock::new();
        let choose = || match std::env::var_os(VARIABLE) {
            Some(name) => Self::find(VARIABLE, &name.to_string_lossy()),
            None => {
                let widest = Self::ready().last().expect("the scalar kernel runs everywhere").isa;
                Self::of(|kernel| serves(kernel, widest))
            }
        };
        AUTO.get_or_init(choose).as_ref().map_err(Clone::clone)
    }

    /// The kernels of an instruction set (`avx2`), or the one of that full name (`avx2-6x16c2`). One that
    /// needs a proof for each panel (`avx2-6x16c4s2`) comes with the exact ones of its instruction set, for
    /// the panels that have none.
    ///
    /// # Errors
    /// [`Error::Kernel`] if there is none of that name that runs on this CPU, [`Error::Variable`] as in
    /// [`auto`](Self::auto).
    pub fn named(name: &str) -> Result<Self, Error> {
        Self::find("kernel", name)
    }

    /// All kernels that run on this CPU, the narrowest instruction set first.
    pub fn available() -> Vec<KernelInfo> {
        Self::ready().map(|kernel| KernelInfo::of(&kernel)).collect()
    }

    /// Sets the cache sizes. Blocks are cut for that of L2, the share of one core; the others are not used today. The
    /// default is what the CPU or `QGEMM_CACHES` tells. No result depends on them.
    #[must_use]
    pub fn with_caches(self, caches: Caches) -> Self {
        Self { caches, ..self }
    }

    /// The cache sizes, of which that of L2 decides the blocks.
    pub fn caches(&self) -> Caches {
        self.caches
    }

    /// Sets the cycles that a kernel of AMX is taken to lose in a call before and after its products: it multiplies by
    /// tiles where these gain more than that over vectors. 0 means tiles always, [`u32::MAX`] never. The default is a number
    /// from Intel's manuals, or what the environment variable `QGEMM_AMX_OVERHEAD` says; `qgemm tune` measures it. It counts
    /// when a matrix is packed. No result depends on it.
    #[must_use]
    pub fn with_amx_overhead(mut self, cycles: u32) -> Self {
        for kernel in &mut self.kernels {
            *kernel = kernel.with_amx_overhead(cycles);
        }
        self
    }

    /// The cycles that [`with_amx_overhead`](Self::with_amx_overhead) sets; `None` without a kernel of AMX.
    pub fn amx_overhead(&self) -> Option<u32> {
        let kernel = self.kernels.iter().find(|kernel| kernel.isa == Isa::AmxInt8);
        kernel.map(Ready::amx_overhead)
    }

    /// Whether this process can use AMX, and if not, why.
    pub fn amx() -> Amx {
        amx()
    }

    /// The kernels to choose from.
    pub fn kernels(&self) -> impl Iterator<Item = KernelInfo> {
        self.kernels.iter().chain(&self.proven).map(|kernel| KernelInfo::of(kernel))
    }

    fn ready() -> impl Iterator<Item = Ready> {
        let features = Features::detect();
        TABLE.iter().filter_map(move |kernel| kernel.ready(&features))
    }

    fn of(wanted: impl Fn(&Kernel) -> bool) -> Result<Self, Error> {
        let (mut kernels, mut proven) = (Vec::new(), Vec::new());
        for list in [&mut kernels, &mut proven] {
            buffer::reserve(list, TABLE.len(), "kernels")?;
        }
        let amx_overhead = amx_overhead()?;
        for kernel in Self::ready().filter(|kernel| wanted(kernel)) {
            let kernel = amx_overhead.map_or(kernel, |cycles| kernel.with_amx_overhead(cycles));
            if kernel.i16_groups == 0 { kernels.push(kernel) } else { proven.push(kernel) }
        }
        kernels.sort_by_key(|kernel| kernel.nr);
        proven.sort_by_key(|kernel| Reverse(kernel.i16_groups));
        // Those with a proof have the instruction set of exact ones.
        let isa = kernels.last().or(proven.first()).map_or(Isa::Scalar, |kernel| kernel.isa);
        Ok(Self { kernels, proven, groupwise: groupwise_kernel(isa), caches: caches()? })
    }

    fn find(argument: &'static str, name: &str) -> Result<Self, Error> {
        let groupwise = groupwise_kernels().find(|kernel| kernel.name == name);
        let isa = groupwise.map(|kernel| kernel.isa);
        // One that is here: AMX's name stands for kernels of vectors too.
        let isa = isa.or(Self::ready().map(|kernel| kernel.isa).find(|isa| isa.name() == name));
        let named = |kernel: &Kernel| kernel.name == name || isa.is_some_and(|isa| serves(kernel, isa));
        let mut found = Self::of(named)?;
        found.groupwise = groupwise.unwrap_or(found.groupwise);
        if let (true, Some(kernel)) = (found.kernels.is_empty(), found.proven.first()) {
            found.kernels = Self::of(|other| other.isa == kernel.isa)?.kernels;
        }
        if !found.kernels.is_empty() {
            return Ok(found);
        }
        let known = Isa::ALL.iter().any(|isa| isa.name() == name)
            || TABLE.iter().any(|kernel| kernel.name == name)
            || GROUP_TABLE.iter().any(|kernel| kernel.name == name);
        let mut available = Vec::new();
        buffer::reserve(&mut available, 2 * TABLE.len() + GROUP_TABLE.len(), "kernels")?;
        available.extend(Self::ready().map(|kernel| kernel.isa.name()));
        available.dedup();
        available.extend(Self::ready().map(|kernel| kernel.table_row().name));
        available.extend(groupwise_kernels().map(|kernel| kernel.table_row().name));
        Err(Error::Kernel { argument, got: buffer::text(name), known, available })
    }

    /// The kernel for a B of `k` rows and `n` columns: the one with the narrowest panel of those that suit such a matrix and
    /// hold all its columns in a panel, else the one with the widest.
    pub(crate) fn choose(&self, k: usize, n: usize) -> Ready {
        let fits = self.kernels.iter().find(|kernel| n <= kernel.nr && kernel.suits.holds(k, n));
        *fits.or(self.kernels.last()).expect("a dispatch is never empty")
    }

    /// The kernel for group-wise weights, by name; it comes with the instruction set.
    pub fn groupwise_kernel(&self) -> &'static str {
        self.groupwise.table_row().name
    }

    /// The names of all kernels for group-wise weights that run on this CPU.
    pub fn available_groupwise() -> impl Iterator<Item = &'static str> {
        groupwise_kernels().map(|kernel| kernel.table_row().name)
    }

    /// The kernel for group-wise weights whose longest group has so many rows.
    pub(crate) fn groupwise(&self, longest_group: usize) -> GroupReady {
        if self.groupwise.any_group || longest_group <= MAX_VECTOR_GROUP {
            return self.groupwise;
        }
        groupwise_kernels().find(|kernel| kernel.any_group).expect("the scalar kernel is in the table")
    }

    /// The kernels for panels with a proof whose tiles are those of `exact`, those of the most k-groups in 16 bits first.
    pub(crate) fn proven_beside(&self, exact: &Kernel) -> impl Iterator<Item = Ready> + Clone + '_ {
        let tile = (exact.mr, exact.nr);
        self.proven.iter().copied().filter(move |kernel| (kernel.mr, kernel.nr) == tile)
    }
}

/// Whether a kernel is one to choose from where `isa` is wanted: AMX's for all matrices comes with those of the vectors that
/// it includes for few columns.
fn serves(kernel: &Kernel, isa: Isa) -> bool {
    let for_few_columns = kernel.suits.most_columns < usize::MAX;
    kernel.isa == isa || (isa == Isa::AmxInt8 && kernel.isa == Isa::Avx512Vnni && for_few_columns)
}

/// The group-wise kernels that run on this CPU, the narrowest instruction set first.
fn groupwise_kernels() -> impl Iterator<Item = GroupReady> {
    let features = Features::detect();
    GROUP_TABLE.iter().filter_map(move |kernel| kernel.ready(&features))
}

/// The group-wise kernel for CPUs that have `isa`: the widest of those that need no more.
fn groupwise_kernel(isa: Isa) -> GroupReady {
    let serves: &[Isa] = match isa {
        Isa::Scalar => &[Isa::Scalar],
        Isa::AvxVnniInt8 => &[Isa::AvxVnni, Isa::Avx2, Isa::Portable],
        Isa::AvxVnni => &[Isa::AvxVnni, Isa::Avx2, Isa::Portable],
        Isa::I8mm => &[Isa::I8mm, Isa::Dotprod, Isa::Neon, Isa::Portable],
        Isa::Dotprod => &[Isa::Dotprod, Isa::Neon, Isa::Portable],
        Isa::Avx2 => &[Isa::Avx2, Isa::Portable],
        Isa::Avx512Bw => &[Isa::Avx512Bw, Isa::Portable],
        Isa::Avx512Vnni | Isa::AmxInt8 => &[Isa::Avx512Vnni, Isa::Portable],
        Isa::Neon => &[Isa::Neon, Isa::Portable],
        _ => &[Isa::Portable],
    };
    let find = |isa: &Isa| groupwise_kernels().find(|kernel| kernel.isa == *isa);
    serves.iter().find_map(find).expect("the portable kernel is in the table")
}
