//! The examples run, and find their results near those of their naive computations.

#[path = "../examples/attention.rs"]
mod attention;
#[path = "../examples/conv2d.rs"]
mod conv2d;
#[path = "../examples/experts.rs"]
mod experts;
#[path = "../examples/linear.rs"]
mod linear;
#[cfg(feature = "ndarray")]
#[path = "../examples/ndarray.rs"]
mod ndarray_arrays;
#[path = "../examples/serving.rs"]
mod serving;

#[test]
fn examples_run() {
    linear::main().unwrap();
    conv2d::main().unwrap();
    attention::main().unwrap();
    experts::main().unwrap();
    serving::main().unwrap();
    #[cfg(feature = "ndarray")]
    ndarray_arrays::main().unwrap();
}
