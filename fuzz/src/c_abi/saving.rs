//! Weights as bytes: saved, described, loaded, mapped, right and changed.

use crate::c_abi::calls::{
    LoadOptions, Passed, Saved, Weights, load, map, map_file, release_memory, saved_info,
};
use crate::c_abi::expect::Expect;
use crate::c_abi::memory::Memory;
use crate::c_abi::packing::{bytes, compare_saved, kernel, pack_bytes, pack_groups};
use crate::input::Input;
use crate::saved::{Mapped, change, seal};
use crate::shape::Shape;
use qgemm_c::matrix::{QGEMM_I8, QGEMM_U8};
use qgemm_c::saved::{QGEMM_REFUSE, QGEMM_SAVED_COLUMNS, QGEMM_SAVED_GROUPWISE, qgemm_load_options};
use qgemm_c::status::*;
use std::ffi::CString;

/// Runs a case.
pub fn run(input: &mut Input<'_>, memory: &Memory) -> Option<()> {
    let Shape { k, n, .. } = Shape::read(input);
    let weights = if input.flag() {
        pack_groups(input, memory, (k, n))?.0
    } else {
        let matrix = bytes(input, memory, (k, n));
        pack_bytes(input, memory, matrix)?
    };
    let (mut expect, to) = (Expect::default(), Passed::Right);
    let passed = expect.passed(input);
    let (status, size) = weights.size(passed);
    expect.check("size", status);
    let size = size.or(weights.size(to).1).expect("it is asked as it has to be");
    wrong_lengths(input, &weights, size);
    let (status, mut saved) = weights.save(size);
    assert_eq!(status, QGEMM_OK);
    if input.one_in(8) {
        file(input, &weights, &saved);
    }
    let is_changed = input.flag() && change(input, &mut saved);
    if is_changed && input.flag() {
        seal(&mut saved);
    }
    load_all(input, &saved, is_changed);
    if input.one_in(16) {
        release_memory();
    }
    Some(())
}

fn wrong_lengths(input: &mut Input<'_>, weights: &Weights<'_>, size: usize) {
    let len = input.one_of(&[size.saturating_sub(1), size + 1, 0, size + 64]);
    let (status, bytes) = weights.save(len);
    assert_eq!(status, QGEMM_SHAPE, "{len} bytes for {size}");
    assert!(bytes.iter().all(|&byte| byte == 0xa5), "bytes were written");
}

/// Saves weights to a file, and maps that.
fn file(input: &mut Input<'_>, weights: &Weights<'_>, saved: &[u8]) {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("qgemm-fuzz-{}", std::process::id()));
    let path = CString::new(path.to_str().expect("it is a text")).expect("it has no zeros");
    let wrong = [c"", c"/no such folder/weights", c"\xff\xfe", c"/"];
    match input.byte() % 4 {
        0 => assert_eq!(
            (weights.save_file(None), map_file(None, None, Passed::Right).0),
            (QGEMM_NULL, QGEMM_NULL)
        ),
        1 => {
            let path = input.one_of(&wrong);
            let expected = if path.to_str().is_ok() { QGEMM_FILE } else { QGEMM_SHAPE };
            assert_eq!(weights.save_file(Some(path)), expected);
            let mapped = map_file(Some(path), None, Passed::Right).0;
            assert_eq!(mapped, expected, "{path:?}");
        }
        _ => {
            assert_eq!(weights.save_file(Some(&path)), QGEMM_OK);
            let (status, mapped) = map_file(Some(&path), None, Passed::Right);
            let _ = std::fs::remove_file(path.to_str().expect("it is a text"));
            // Weights for another kernel than the usual one are packed again, and saved as such.
            let same =
                mapped.as_ref().is_some_and(|mapped| mapped.size(Passed::Right).1 == Some(saved.len()));
            assert_eq!(status, QGEMM_OK);
            if same && saved[12] == 2 {
                compare_saved("file", &mapped.expect("it was mapped"), saved);
            }
        }
    }
}

/// Loads bytes in every way, and describes them.
fn load_all(input: &mut Input<'_>, saved: &[u8], is_changed: bool) {
    let first = usize::from(input.one_in(4));
    let held = Mapped::new(saved, first);
    let mut expect = Expect::default();
    let mut part = Saved { bytes: held.as_ref(), is_null: false };
    match input.byte() {
        250 => {
            part.is_null = true;
            expect.wrong(&[QGEMM_NULL]);
        }
        251 => part.bytes = &part.bytes[..part.bytes.len() - 1],
        252 => part.bytes = &part.bytes[..part.bytes.len().min(16)],
        253 => part.bytes = &[],
        _ => (),
    }
    let is_short = part.bytes.len() < saved.len();
    if is_short {
        expect.wrong(if part.is_null { &[QGEMM_NULL] } else { &[QGEMM_SAVED] });
    }
    if is_changed {
        expect.perhaps(&[QGEMM_SAVED, QGEMM_NOT_FINITE, QGEMM_TYPE, QGEMM_RANGE, QGEMM_SHAPE, QGEMM_MEMORY]);
    }
    let mut of_info = expect.clone();
    let to = of_info.passed(input);
    let (status, info) = saved_info(part, to);
    of_info.check("info", status);
    if !part.is_null && to == Passed::Right {
        assert_eq!(qgemm::saved_info(part.bytes).is_ok(), status == QGEMM_OK);
    }
    let mut options: LoadOptions<'_> = None;
    if input.flag() {
        let other = u32::from(input.one_in(3));
        if other == QGEMM_REFUSE {
            expect.perhaps(&[QGEMM_SAVED]);
        }
        let raw = qgemm_load_options {
            struct_size: 0,
            other_layout: expect.choice(input, other),
            kernel: std::ptr::null(),
        };
        let (name, _) = kernel(input, &mut expect);
        let raw = expect.options(input, raw, |raw| &mut raw.struct_size);
        options = Some((raw, name));
    }
    let (to, releases) = (expect.passed(input), input.flag());
    let (status, loaded) = load(part, options, to);
    expect.check("load", status);
    let (status, mapped) = map(part, options, releases, to);
    expect.check("map", status);
    assert_eq!(loaded.is_some(), mapped.is_some());
    for weights in [loaded, mapped].into_iter().flatten() {
        let about = weights.info(Passed::Right).1.expect("it is asked as it has to be");
        let size = weights.size(Passed::Right).1.expect("it is asked as it has to be");
        let (status, again) = weights.save(size);
        assert_eq!(status, QGEMM_OK);
        let again =
            saved_info(Saved { bytes: &again, is_null: false }, Passed::Right).1.expect("it was saved");
        assert_eq!((again.k, again.n, again.bits, again.group), (about.k, about.n, about.bits, about.group));
        assert!([QGEMM_I8, QGEMM_U8].contains(&again.r#type) && again.r#type == about.r#type);
        assert!([QGEMM_SAVED_COLUMNS, QGEMM_SAVED_GROUPWISE].contains(&again.kind) && again.kernel[63] == 0);
        if let Some(info) = &info {
            assert_eq!((info.k, info.n, info.kind), (about.k, about.n, again.kind));
        }
    }
}
