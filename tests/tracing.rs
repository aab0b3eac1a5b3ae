//! Events of the crate tracing: one for each call, with what `QGEMM_VERBOSE` prints.

use qgemm::*;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Level, Metadata, Subscriber};

/// The fields of events, as text.
type Fields = Vec<(&'static str, String)>;

/// Keeps the events of the library.
struct Kept(Arc<Mutex<Vec<Fields>>>);

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "qgemm" && *metadata.level() == Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("the library has no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Text(Vec::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text(Fields);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_string()));
    }
}

/// The events of some calls.
fn events(calls: impl FnOnce() -> Result<(), Error>) -> Vec<Fields> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    with_default(Kept(kept.clone()), calls).unwrap();
    std::mem::take(&mut *kept.lock().unwrap())
}

fn field<'f>(event: &'f Fields, name: &str) -> &'f str {
    &event.iter().find(|(of, _)| *of == name).unwrap_or_else(|| panic!("no {name}: {event:?}")).1
}

#[test]
fn calls_are_events() {
    let (a, floats, b) = ([1u8; 6], [1f32; 6], [1i8; 12]); // 2 x 3, 3 x 4
    let all = events(|| {
        let a = MatRef::row_major(&a, 2, 3)?;
        let packed = PackedB::pack(MatRef::row_major(&b, 3, 4)?)?;
        let (mut sums, mut bytes, mut real) = ([0i32; 8], [0u8; 8], [0f32; 8]);
        let product = Gemm::new(a, &packed);
        product.b_zero(3).run_i32(MatMut::row_major(&mut sums, 2, 4)?)?;
        let output = Requantize::new(&[1.0; 4], 7)?;
        product
            .a_zero(&[1, 2])
            .bias(&[0; 4])
            .run_requantized(MatMut::row_major(&mut bytes, 2, 4)?, output)?;
        Gemm::new(a, MatRef::row_major(&b, 3, 4)?).accumulate_i32(MatMut::row_major(&mut sums, 2, 4)?)?;
        let floats = MatRef::row_major(&floats, 2, 3)?;
        DynamicGemm::new(floats, &packed)
            .run_f32(MatMut::row_major(&mut real, 2, 4)?, Dequantize::dynamic(1.0)?)?;
        let (codes, scales) = ([1u8; 12], [1f32; 4]);
        let (codes, scales) = (MatRef::row_major(&codes, 3, 4)?, MatRef::row_major(&scales, 1, 4)?);
        let b = GroupwiseB::builder(CodeBits::Four, 32).pack(codes, scales)?;
        GroupwiseGemm::new(floats, &b).run_f32(MatMut::row_major(&mut real, 2, 4)?, Dequantize::groupwise())
    });
    let told = |names: [&str; 5]| all.iter().map(|e| names.map(|name| field(e, name))).collect::<Vec<_>>();
    assert_eq!(
        told(["call", "a", "b", "c", "stage"]),
        [
            ["pack", "", "i8 3x4", "panels", "for u8"],
            ["gemm", "u8 2x3", "i8 3x4 packed", "i32 2x4", "b_zero 3"],
            ["gemm", "u8 2x3", "i8 3x4 packed", "8-bit 2x4", "a_zero per row bias scale per column c_zero 7"],
            ["gemm", "u8 2x3", "i8 3x4 in place", "i32 2x4", "accumulated"],
            ["quantize", "f32 2x3", "", "i8 2x3", "one scale per row"],
            ["gemm", "i8 2x3", "i8 3x4 packed", "f32 2x4", "scale per row"],
            ["pack", "", "4-bit 3x4 groups of 32", "panels", ""],
            ["groupwise", "f32 2x3 PerRowAndGroup", "4-bit 3x4 groups of 32", "f32 2x4", "one scale"],
        ]
    );
    let names: Vec<_> = Dispatch::available().into_iter().map(|kernel| kernel.name).collect();
    for event in &all {
        assert!(field(event, "microseconds").parse::<f64>().unwrap() > 0.0, "{event:?}");
        if field(event, "call") == "gemm" {
            assert!(names.contains(&field(event, "kernel")), "{event:?}");
            assert_eq!(field(event, "threads"), "1");
            let blocks = if field(event, "b").contains("packed") { "mc 2 kc 3 panels 1" } else { "" };
            assert_eq!(field(event, "blocks"), blocks);
        }
    }
}

/// A call that ends with an error is no event: the error tells of it.
#[test]
fn errors_are_no_events() {
    let (a, b, mut c) = ([1u8; 2], [1i8; 2], [0i32; 2]);
    let none = events(|| {
        let product = Gemm::new(MatRef::row_major(&a, 1, 2)?, MatRef::row_major(&b, 2, 1)?);
        product.run_i32(MatMut::row_major(&mut c, 1, 2)?).unwrap_err();
        Ok(())
    });
    assert!(none.is_empty(), "{none:?}");
}
