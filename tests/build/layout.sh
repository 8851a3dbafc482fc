# SPDX-License-Identifier: GPL-2.0
# The layout check on made-up types: same pipeline, same Rust code as in the
# module, the host's compilers in place of the kernel's.
. ./lib.sh

if ! command -v cc >/dev/null || ! rustc --version >/dev/null 2>&1; then
	skip "layout check" "no cc or no rustc here"
	finish
	exit
fi

crate=$work/crate
mkdir -p "$crate/bindings"
cat >"$work/helper.h" <<'HEADER'
#include <stddef.h>
struct pair { char first; int second; void *type; };
union either { short small; long big; };
HEADER
printf '# comment\nstruct pair # more\nunion\teither\n' >"$work/made-up.list"

# The types that src/bindings/layout.rs compares with the kernel crate's.
shared=$(sed -n '/^compare_with_kernel_crate! {/,/^}/s/^    \([a-z_0-9]*\),$/\1/p' "$top/src/bindings/layout.rs")
echo "#![allow(non_camel_case_types)] pub mod bindings {
$(for name in $shared; do echo "#[repr(C)] pub struct $name { a: u32 }"; done) }" >"$work/kernel.rs"
rustc --crate-type rlib --crate-name kernel -o "$work/libkernel.rlib" "$work/kernel.rs"

# bindings TYPE-OF-SECOND TYPE-OF-SHARED: what bindgen might have printed.
bindings() {
	cat >"$work/bindings_generated.rs" <<-RUST
		#[repr(C)]
		pub struct pair {
		    pub first: u8,
		    pub second: $1,
		    pub type_: *mut u8,
		    pub __bindgen_padding_0: [u8; 0],
		}
		#[repr(C)]
		#[derive(Clone, Copy)]
		pub union either {
		    pub small: i16,
		    pub big: i64,
		}
	RUST
	cp "$work/bindings_generated.rs" "$crate/bindings.rs"
	for name in $shared; do echo "#[repr(C)] pub struct $name { a: $2 }"; done >>"$crate/bindings.rs"
	echo "mod layout;" >>"$crate/bindings.rs"
	cp "$top/src/bindings/layout.rs" "$crate/bindings/layout.rs"
	echo '#![allow(dead_code, non_camel_case_types)] mod bindings;' >"$crate/lib.rs"
}

# numbers: list + bindings -> C -> assembler -> Rust.
numbers() {
	awk -f "$top/scripts/layout-c.awk" -v helper="$work/helper.h" "$work/made-up.list" \
		"$work/bindings_generated.rs" >"$work/layout_generated.c" &&
		cc -S -o "$work/layout_generated.s" "$work/layout_generated.c" &&
		awk -f "$top/scripts/layout-rs.awk" "$work/layout_generated.s" >"$work/layout_generated.rs"
}

compile() {
	SRPT_LAYOUT=$work/layout_generated.rs rustc --edition 2021 --crate-type lib --emit metadata \
		--extern kernel="$work/libkernel.rlib" -o "$work/out.rmeta" "$crate/lib.rs"
}

bindings i32 u32
verify "numbers are generated" numbers
verify "... for each field that bindgen shows, and no other" [ "$(grep -c "= compare(" "$work/layout_generated.rs")" -eq 9 ]
verify "... also for one that is a Rust keyword" grep -qF 'compare("offsetof(struct pair, type)", 8, offset_of!(bindings::pair, type_))' "$work/layout_generated.rs"
verify "equal layouts compile" compile

bindings i16 u32
numbers
expect 1 "layout check: offsetof\\(struct pair, second\\) is 4 for the kernel's C compiler but 2 in the Rust bindings" \
	"a field that Rust believes elsewhere fails the build" compile

bindings i32 u32
numbers
sed -i 's/"sizeof(union either)", 8/"sizeof(union either)", 16/' "$work/layout_generated.rs"
expect 1 "sizeof\\(union either\\) is 16 for the kernel's C compiler but 8 in the Rust bindings" \
	"one changed number fails the build" compile

bindings i32 u64
numbers
expect 1 'layout check: the size of `.*` is 4 in the kernel crate but 8 in the Rust bindings' \
	"a type that the kernel crate sees otherwise fails the build" compile

bindings i32 u32
echo 'struct missing' >>"$work/made-up.list"
expect 1 'struct missing is in the layout list but not in the bindings' \
	"a type that is not in the bindings fails the build" numbers

# Anonymous unions are called after what is used in them, wherever they are.
printf '# comment\nouter half # nested\nouter pointer\nouter other\nabsent member\n' >"$work/unions"
cat >"$work/anonymous.rs" <<'RUST'
pub struct outer {
    pub __bindgen_anon_1: outer__bindgen_ty_1,
    pub other: u32,
    pub __bindgen_anon_2: outer__bindgen_ty_2,
    pub __bindgen_anon_3: outer__bindgen_ty_3,
}
pub union outer__bindgen_ty_1 {
    pub whole: u64,
    pub __bindgen_anon_1: outer__bindgen_ty_1__bindgen_ty_1,
}
pub struct outer__bindgen_ty_1__bindgen_ty_1 {
    pub half: u32,
}
pub union outer__bindgen_ty_2 {
    pub number: u32,
    pub pointer: *mut u8,
}
pub union outer__bindgen_ty_3 {
    pub unused: u32,
}
RUST
sed 's/anon_1: outer__bindgen_ty_1/half: outer__bindgen_ty_1/; s/anon_2/pointer/' "$work/anonymous.rs" >"$work/named.rs"
named() {
	awk -f "$top/scripts/anonymous.awk" "$work/unions" pass=1 "$work/anonymous.rs" pass=2 "$work/anonymous.rs" |
		diff - "$work/named.rs"
}
verify "anonymous unions are called after what is used in them" named

finish
