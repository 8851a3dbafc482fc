// SPDX-License-Identifier: GPL-2.0
//! Log lines, which go to the model.

use core::{cell::Cell, fmt};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Err,
    Warn,
    Info,
}

/// Takes a line.
pub type Printer = fn(Level, fmt::Arguments<'_>);

thread_local! {
    static PRINTER: Cell<Option<Printer>> = const { Cell::new(None) };
}

/// Says where lines go.
pub fn set(printer: Printer) {
    PRINTER.set(Some(printer));
}

/// Prints a line.
pub fn print(level: Level, line: fmt::Arguments<'_>) {
    if let Some(printer) = PRINTER.get() {
        printer(level, line);
    }
}

#[macro_export]
macro_rules! pr_err {
    ($($arg:tt)*) => {
        $crate::print::print($crate::print::Level::Err, ::core::format_args!($($arg)*))
    };
}

#[macro_export]
macro_rules! pr_warn {
    ($($arg:tt)*) => {
        $crate::print::print($crate::print::Level::Warn, ::core::format_args!($($arg)*))
    };
}

#[macro_export]
macro_rules! pr_info {
    ($($arg:tt)*) => {
        $crate::print::print($crate::print::Level::Info, ::core::format_args!($($arg)*))
    };
}
