//! An allocator that counts what some threads ask for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The system's allocator, which counts what enlisted threads ask for. The test harness's threads are
/// not among them: they may allocate whenever they like.
struct Counting;

/// By a thread's number in the pool.
pub static COUNTS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

thread_local! {
    /// The number of a thread that is enlisted. (No initializer, no destructor: no allocation.)
    pub static ENLISTED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The bytes that enlisted threads have allocated and not freed.
pub static HELD: AtomicIsize = AtomicIsize::new(0);

fn hold(bytes: isize) {
    if ENLISTED.get().is_some() {
        HELD.fetch_add(bytes, SeqCst);
    }
}

fn count() {
    if let Some(thread) = ENLISTED.get() {
        COUNTS[thread].fetch_add(1, SeqCst);
    }
}

/// The most bytes that an enlisted thread gets at once.
pub static LARGEST: AtomicUsize = AtomicUsize::new(usize::MAX);

fn refused(bytes: usize) -> bool {
    ENLISTED.get().is_some() && bytes > LARGEST.load(SeqCst)
}

// SAFETY: every method hands its arguments to the system's allocator and returns what that does, or null.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refused(layout.size()) {
            return std::ptr::null_mut();
        }
        count();
        hold(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if refused(new_size) {
            return std::ptr::null_mut();
        }
        count();
        hold(new_size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One count at a time. A test that failed has said so.
pub static TURN: Mutex<()> = Mutex::new(());

pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often each of the enlisted threads allocates during `f`.
pub fn allocations(f: impl FnOnce()) -> [usize; 2] {
    COUNTS.iter().for_each(|count| count.store(0, SeqCst));
    f();
    [0, 1].map(|thread| COUNTS[thread].load(SeqCst))
}

#[test]
fn the_counter_counts_this_thread_and_no_other() {
    let _turn = turn();
    ENLISTED.set(Some(1));
    let [other, mine] = allocations(|| drop(std::hint::black_box(vec![1u8, 2, 3])));
    assert_eq!((other, mine), (0, 1));
    let [_, mine] = allocations(|| {
        let mut grown = std::hint::black_box(Vec::with_capacity(1));
        (0..5).for_each(|i| grown.push(std::hint::black_box(i)));
    });
    assert!(mine >= 2);
    ENLISTED.set(None);
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8, 2, 3]))), [0, 0]);
}
