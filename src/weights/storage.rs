//! Memory of packed weights: their own, or a part of bytes that others own too, such as a mapped file.

use crate::buffer;
use crate::error::Error;
use bytemuck::Pod;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The owner of bytes that several weights, and others, may read.
pub(crate) type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Values that are only read once they are made.
#[derive(Clone)]
pub(crate) enum Storage<T> {
    Own(Vec<T>),
    Shared {
        owner: Owner,
        /// Bytes that have the alignment and the length of values.
        bytes: Range<usize>,
    },
}

impl<T: Pod> Deref for Storage<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Storage::Own(values) => values,
            // An owner that gives other bytes than before has none of the values.
            Storage::Shared { owner, bytes } => {
                let bytes = (**owner).as_ref().get(bytes.clone()).unwrap_or(&[]);
                bytemuck::try_cast_slice(bytes).unwrap_or(&[])
            }
        }
    }
}

impl<T> Storage<T> {
    /// The memory of its own; empty, in place of what it shared.
    pub(crate) fn own(&mut self) -> &mut Vec<T> {
        if let Storage::Shared { .. } = self {
            *self = Storage::Own(Vec::new());
        }
        match self {
            Storage::Own(values) => values,
            Storage::Shared { .. } => unreachable!("it was replaced"),
        }
    }
}

/// Whether numbers of this type lie in saved bytes in another order than this CPU's. Lines are bytes.
pub(crate) const fn is_swapped<T>() -> bool {
    cfg!(target_endian = "big") && matches!(size_of::<T>(), 2 | 4)
}

impl<T: Pod> Storage<T> {
    /// The little-endian values in a part of `from`, whose length is a multiple of theirs: in place, if `owner` owns `from` and
    /// the values are as this CPU reads them, else copied.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn read(
        from: &[u8],
        part: Range<usize>,
        owner: Option<&Owner>,
        purpose: &'static str,
    ) -> Result<Self, Error> {
        let bytes = &from[part.clone()];
        let swapped = is_swapped::<T>();
        if let (Some(owner), false, Ok(_)) = (owner, swapped, bytemuck::try_cast_slice::<u8, T>(bytes)) {
            return Ok(Storage::Shared { owner: owner.clone(), bytes: part });
        }
        let mut values = Vec::new();
        buffer::refill(&mut values, bytes.len() / size_of::<T>(), T::zeroed(), purpose)?;
        let copy: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        copy.copy_from_slice(bytes);
        if swapped {
            copy.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
        Ok(Storage::Own(values))
    }
}
