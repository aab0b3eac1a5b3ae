//! The micro-kernels of qgemm, and all of its `unsafe` code.
//!
//! A micro-kernel multiplies a few rows of A by a packed panel of B (some also take two panels, or many rows) and
//! stores a tile of C:
//!
//! ```text
//!                  cols <= NR
//!               +--------------+
//!               |   panel of B |  K (packed in groups of KR, see `pack_panel`)
//!               +--------------+
//!      K
//!  +--------+   +--------------+
//!  |   A    |   |      C       |  rows, MR at a time
//!  +--------+   +--------------+
//!
//!  sum[i][j] = Σ_k (A[i][k] + a_shift)·B[k][j] + col[j] + row[i] - Σ_o outer[o].row[i]·outer[o].col[j]   modulo 2^32
//! ```
//!
//! The sums are stored, or 8-bit or f32 values that are made from them (see [`Output`]).
//!
//! [`TABLE`] lists the kernels as data; a row is made from the constants of its code. A kernel runs only through a
//! [`Ready`], which only [`Kernel::ready`] makes, from [`Features`] that show the CPU to have its instructions;
//! [`Ready::run`] checks every length. Nothing is allocated. `std` (a default feature) serves to detect the CPU,
//! nothing else.
#![no_std]

#[cfg(feature = "std")]
extern crate std;

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod amx;
mod block;
mod caches;
mod contract;
mod detect;
mod elements;
mod entry;
mod float_mode;
mod groupwise;
mod huge_pages;
mod layout;
mod offer;
pub mod peak;
mod portable;
mod raw_parts;
mod scalar;
pub mod selftest;
mod table;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use amx::{Amx, amx, tiles_are_faster};
pub use block::{BlockMut, Blocks};
pub use caches::Caches;
pub use contract::column_stats::ColumnStats;
pub use contract::kernel::{Kernel, Suits, Variant, tile_height};
pub use contract::limits::{MAX_I16_GROUPS, MAX_MR, MAX_NR};
pub use contract::panel::{
    Line, MAX_PACK_ROWS, PANELS_SIDE_BY_SIDE, PackJob, Source, panel_index, panel_value,
};
pub use contract::ready::Ready;
pub use contract::row_params::{RowExtremes, RowParams};
pub use contract::stage::{
    F64Terms, MAX_ZERO_POINT, NO_BIAS, OuterProduct, Output, ResidualValues, TileDequantize, TileFixedPoint,
    TileRequantize, TileResidual,
};
pub use contract::sweep_operands::{MAX_SWEEP_ROWS, SWEEP_WIDTH, StridedRows, SweepOperands, SweepSums};
pub use detect::{Features, Isa};
pub use elements::{Convert, SIGN_SHIFT, Stored};
pub use entry::call::PanelProduct;
pub use entry::groupwise::{GroupRows, GroupScales, GroupStage, GroupWeights};
pub use entry::lookup::look_up;
pub use entry::pack::{pack_panel, pack_panels, packs_side_by_side};
pub use entry::proof::provable_i16_groups;
pub use entry::quantize_rows::{F32Rows, QuantizedRows};
pub use entry::rows::{add_column_sums, add_row_sums, flip_signs, pick_rows, widen};
pub use entry::transpose::transpose;
pub use float_mode::in_default_float_mode;
pub use groupwise::args::{ScaleBits, start_for_each};
pub use groupwise::kernel::{GroupKernel, GroupReady};
pub use groupwise::layout::{CodeBits, GroupShape, MAX_VECTOR_GROUP, PANEL, word_place};
pub use groupwise::scalar::clamp;
pub use huge_pages::prefer_huge;
pub use layout::{LayoutError, batch_extent, extent};
pub use offer::Offer;
pub use raw_parts::{RawParts, RawPartsMut, raw_slice};
pub use table::{GROUP_TABLE, TABLE};
