//! `--caller`: the thread that calls the library.

/// The thread that makes the calls to be measured.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Caller {
    /// A thread outside any pool, as most programs have
    Plain,
    /// A thread of a rayon pool
    Pool,
}

impl Caller {
    pub fn name(self) -> &'static str {
        match self {
            Caller::Plain => "plain",
            Caller::Pool => "pool",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Caller::Plain => "a plain thread",
            Caller::Pool => "a thread of a pool",
        }
    }
}
