//! The kernel table.

#[cfg(target_arch = "aarch64")]
use crate::aarch64;
use crate::contract::kernel::Kernel;
use crate::groupwise;
use crate::groupwise::kernel::GroupKernel;
#[cfg(target_arch = "x86_64")]
use crate::x86;
use crate::{portable, scalar};

/// Every kernel of this target, the narrowest instruction set first.
pub static TABLE: &[&Kernel] = &[
    &scalar::KERNEL,
    &portable::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx2::ALONG_K,
    #[cfg(target_arch = "x86_64")]
    &x86::avx2::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_i16_sums::BY_GROUPS[0],
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_i16_sums::BY_GROUPS[1],
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_i16_sums::BY_GROUPS[2],
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_i16_sums::BY_GROUPS[3],
    #[cfg(target_arch = "x86_64")]
    &x86::avx_vnni::ALONG_K,
    #[cfg(target_arch = "x86_64")]
    &x86::avx_vnni::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx_vnni_int8::ALONG_K,
    #[cfg(target_arch = "x86_64")]
    &x86::avx_vnni_int8::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_bw::ALONG_K,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_bw::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_vnni::ALONG_K,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_vnni::K12X16,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_vnni::K12X32,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_vnni::K6X64,
    #[cfg(target_arch = "x86_64")]
    &x86::amx_int8::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &aarch64::neon::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &aarch64::dotprod::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &aarch64::i8mm_dot::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &aarch64::i8mm_matrix::KERNEL,
];

/// Every group-wise kernel of this target, the narrowest instruction set first.
pub static GROUP_TABLE: &[&GroupKernel] = &[
    &groupwise::scalar::KERNEL,
    &groupwise::portable::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::groupwise_256::AVX2,
    #[cfg(target_arch = "x86_64")]
    &x86::groupwise_256::AVX_VNNI,
    #[cfg(target_arch = "x86_64")]
    &x86::groupwise_512::BW,
    #[cfg(target_arch = "x86_64")]
    &x86::groupwise_512::VNNI,
    #[cfg(target_arch = "aarch64")]
    &aarch64::groupwise_neon::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &aarch64::groupwise_dot::DOTPROD,
    #[cfg(target_arch = "aarch64")]
    &aarch64::groupwise_dot::I8MM,
];
