# SPDX-License-Identifier: GPL-2.0
# scripts/check-style on files that break one rule each.
. ./lib.sh

repo=$work/repo
spdx="// SPDX-License-Identifier: GPL-2.0"
head="$spdx

//! Says what lives here."

fresh() {
	rm -rf "$repo"
	mkdir -p "$repo/src/rdma" "$repo/src/srp" "$repo/src/login" "$repo/scripts" "$repo/tests/model/src"
	cat >"$repo/scripts/layers.toml" <<-TOML
		# ${spdx#// }
		[[floors]]
		"srp" = ["srp/*", "compat.rs"]
		[[floors]]
		"rdma" = ["rdma/*", "bindings.rs"]
		"sync" = ["sync.rs"]
		[[floors]]
		"top" = ["*.rs"]
	TOML
	echo "$head" >"$repo/src/good.rs"
	cat >"$repo/src/compat.rs" <<-RUST
		$head
		#[cfg(srpt_kernel = "7.2")]
		fn f() {}
	RUST
	cat >"$repo/src/rdma/good.rs" <<-RUST
		$head
		use crate::bindings; // unsafe in a comment, "unsafe {" in a string

		/// Docs.
		///
		/// # Safety
		///
		/// None.
		#[inline]
		pub(crate) unsafe fn f() {
		    // SAFETY: One line.
		    unsafe { g() };
		    // SAFETY: Two
		    // lines.
		    let x = h(1, unsafe { g() });
		    // SAFETY: Above the statement.
		    let y = x
		        .map(|z| unsafe { g(z) });
		}

		// SAFETY: Reasons.
		unsafe impl Send for X {}

		impl Trait for X {
		    unsafe fn method() {}
		}
	RUST
}
style() { "$top/scripts/check-style" "$repo"; }

fresh
expect 0 'ok$' "good files pass" style

# bad FILE REGEX NAME TEXT: a FILE with that text gives that complaint.
bad() {
	fresh
	printf '%s\n' "$4" >"$repo/$1"
	expect 1 "^$1:[0-9]+: $2" "$3" style
}

bad src/x.c 'no SPDX' "no SPDX line" 'int x;'
bad src/x.rs 'the //! header' "no header" "$spdx
use kernel::prelude::*;"
bad src/x.rs 'unsafe code outside' "unsafe code in the wrong layer" "$head
// SAFETY: Good reasons.
unsafe impl Send for X {}"
bad src/x.rs 'raw bindings outside' "raw bindings in the wrong layer" "$head
use crate::bindings;"
bad src/x.rs 'what is never dropped' "a guard that is forgotten" "$head
fn f(guard: Guard) { core::mem::forget(guard) }"
bad src/x.rs 'what is never dropped' "a box that is leaked" "$head
fn f(guard: KBox<Guard>) { let _ = KBox::into_raw(guard); }"
bad src/rdma/x.rs 'a C structure without ..pin_init::zeroed' "a C structure whose members are all named" "$head
fn f() -> bindings::ib_cqe {
    bindings::ib_cqe { done: None }
}"
bad src/rdma/x.rs 'a C structure without ..pin_init::zeroed' "one within another" "$head
fn f(sge: bindings::ib_sge) {
    let a = bindings::ib_a {
        b: crate::bindings::ib_b { c: 1 },
        ..pin_init::zeroed()
    };
}"
bad src/rdma/x.rs 'a C structure without ..pin_init::zeroed' "one with the rest of another" "$head
fn f(b: bindings::ib_sge) -> bindings::ib_sge { bindings::ib_sge { addr: 1, ..b } }"
bad src/rdma/x.rs 'a C structure that is zero' "one that is made by Default" "$head
fn f() { let _ = bindings::ib_sge::default(); }"
fresh
cat >"$repo/src/rdma/x.rs" <<-RUST
	$head
	impl Kind for bindings::kobject {}
	fn f(x: u32) -> *mut bindings::ib_qp {
	    if x == bindings::ib_a_IB_B {}
	    let _ = bindings::ib_sge { addr: 1, ..pin_init::zeroed() }; // bindings::ib_sge {}
	}
	fn g(&self) -> &bindings::ib_qp { self.0 }
RUST
expect 0 'ok$' "C structures with a zero rest, and their types" style
bad src/srp/x.rs 'src/srp is pure' "the kernel in the protocol layer" "$head
use kernel::prelude::*;"
bad src/srp/x.rs 'src/srp is pure' "the crate in the protocol layer" "$head
use crate::srp::wire;"
bad src/x.rs 'what differs between kernels' "a kernel series outside compat.rs" "$head
#[cfg(srpt_kernel = \"7.2\")]
fn f() {}"
bad src/x.c 'what differs between kernels' "a kernel version in C" "$spdx
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)"
bad src/x.c 'what differs between RDMA headers' "a form of a function outside shims.c" "$spdx
#if SRPT_CM_LISTEN_HAS_MASK"
bad src/rdma/x.rs 'unsafe without a SAFETY comment' "an unsafe block without a comment" "$head
fn f() {
    // SAFETY: For the first only.
    unsafe { g() };
    unsafe { h() };
}"
bad src/rdma/x.rs 'unsafe without a SAFETY comment' "an unsafe impl without a comment" "$head
unsafe impl Send for X {}"
bad src/rdma/x.rs 'unsafe fn or trait without a # Safety section' "an unsafe function without a section" "$head
/// Docs.
pub(crate) unsafe fn f() {}"
bad src/srp/x.rs "'Nobody' in a comment" "a person in a doc comment" "$head
/// Nobody calls it.
fn f() {}"
bad src/login/x.rs "'whom' in a comment" "a person behind code" "$head
fn f() {} // for whom"
bad src/login/x.rs "'everybody' in a comment" "all persons" "$head
fn f() {} // as everybody"
bad src/login/x.rs "'Everyone' in a comment" "all persons, by another word" "$head
// SAFETY: Everyone knows."
bad tests/model/src/x.rs "'somebody' in a comment" "a person in the model" "$head
/// For somebody.
fn f() {}"
bad src/params.h "'Someone' in a comment" "a person in a comment in C" "/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Someone reads it: http://example.org */
int x;"
bad src/srp/x.rs 'a comment of 101 columns' "a long comment" "$head
/// $(printf '%097d' 0)
fn f() {}"
fresh
printf '%s\n' "$head" '/// A type whose body and anyones pass, as does' 'const F: &str = "nobody"; /* a */' \
	>"$repo/src/srp/x.rs"
expect 0 'ok$' "no person in a string or a longer word" style
bad src/x.h '901 lines' "a long file" "$(echo "$spdx"; seq 900)"
bad x.py 'FIRST replaces that of line 2' "a constant in Python that replaces another" "# ${spdx#// }
FIRST = 1
second = 1
second = 2
FIRST = 3"
bad x 'f replaces that of line 3' "a function in a script that replaces another" "#!/usr/bin/env python3
# ${spdx#// }
def f(): pass
def f(): pass"

# Layers. A module of its own per form of an import.
bad src/rdma/x.rs 'rdma/x.rs imports good.rs: top is not below rdma' "an import that goes up" "$head
use crate::{
    compat,
    good::{self, f},
};"
bad src/rdma/x.rs 'rdma/x.rs imports good.rs: top is not below rdma' "one through super::" "$head
use super::super::good::f;"
bad src/rdma/x.rs 'rdma/x.rs imports good.rs: top is not below rdma' "one in a macro" "$head
macro_rules! m { () => { \$crate::good::f() } }"
bad src/rdma/x.rs 'rdma/x.rs imports good.rs: top is not below rdma' "one imported in a macro" "$head
macro_rules! m { () => { use \$crate::good::f; f() } }"
bad src/rdma/x.rs 'rdma/x.rs imports good.rs: top is not below rdma' "a path without an import" "$head
fn f() { let _ = r\"\\\"; crate::good::f(); let _ = r\"\\\"; }"
bad src/sync.rs 'sync.rs imports rdma/good.rs: rdma is not below sync' "one through an imported name" "$head
use crate::{rdma as verbs, compat};
fn f() { verbs::good::f() }"
bad src/sync.rs 'sync.rs imports rdma/good.rs: rdma is not below sync' "one to the same floor" "$head
use crate::rdma::good::f;"
fresh
mkdir "$repo/src/other"
echo "$head" >"$repo/src/other/x.rs"
sed -i 's/"\*.rs"/"[!o]*.rs"/' "$repo/scripts/layers.toml"
expect 1 '^src/other/x.rs:1: has no room' "a file without a room" style
fresh
printf '%s\n' "$head" 'use super::b;' >"$repo/src/rdma/a.rs"
printf '%s\n' "$head" 'use super::a;' >"$repo/src/rdma/b.rs"
expect 1 '^src/rdma/a.rs:1: import each other: rdma/a.rs rdma/b.rs' "files that import each other" style
printf '%s\n' "$head" 'mod c; use super::good;' >"$repo/src/rdma/b.rs"
mkdir "$repo/src/rdma/b"
printf '%s\n' "$head" 'use super::super::b;' >"$repo/src/rdma/b/c.rs"
expect 0 'ok$' "a folder's file and what is in the folder" style

fresh
git -C "$repo" init -q
touch "$repo/x_generated.rs"
git -C "$repo" add -A
expect 1 '^x_generated.rs:1: a generated file' "a generated file in the repository" style

finish
