# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Helpers of the tests in this directory: made-up kernel trees and tools in a
# scratch directory, and output as KTAP. Sourced.

top=$(cd ../.. && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
unset ARCH CROSS_COMPILE KDIR OFED OFED_DIR RUSTC BINDGEN CC LLVM ENGINE INSTALL_MOD_PATH INSTALL_MOD_STRIP MAKEFLAGS MAKELEVEL V

RUST_TEXT="rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)"
RELEASE=7.3.4+test-amd64

echo "KTAP version 1"
count=0
failures=0
report() {
	count=$((count + 1))
	if [ "$1" = ok ]; then
		echo "ok $count - $2"
	else
		failures=$((failures + 1))
		echo "not ok $count - $2"
		sed 's/^/# /' "$work/out"
	fi
}

# expect STATUS TEXT NAME COMMAND...: the command ends with STATUS (0, or 1 for
# any failure) and its output has a line with the extended regular expression
# TEXT.
expect() {
	want=$1 text=$2 name=$3
	shift 3
	"$@" >"$work/out" 2>&1 </dev/null
	status=$?
	[ "$status" -eq 0 ] || status=1
	if [ "$status" -eq "$want" ] && grep -qE -e "$text" "$work/out"; then
		report ok "$name"
	else
		echo "(status $status, wanted $want and \"$text\")" >>"$work/out"
		report "not ok" "$name"
	fi
}

# verify NAME COMMAND...: the command succeeds.
verify() {
	name=$1
	shift
	if "$@" >"$work/out" 2>&1; then report ok "$name"; else report "not ok" "$name"; fi
}

skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }

finish() {
	echo "1..$count"
	[ "$failures" -eq 0 ]
}

# real_kernel WHAT: sets tree to what is compiled against for REAL_KDIR and release to
# its kernel's; skips WHAT and ends where there is none. copy is a copy of the checkout,
# whose build/ is not touched.
real_kernel() {
	if [ ! -e "$REAL_KDIR/Makefile" ] || ! KDIR=$REAL_KDIR "$top/scripts/check-kdir" >"$work/out" 2>&1; then
		skip "$1" "no kernel here to build for: $(tail -n 1 "$work/out" 2>/dev/null)"
		finish
		exit
	fi
	tree=$(KDIR=$REAL_KDIR make -s -C "$top" prepare-kdir 2>/dev/null)
	release=$(cat "$tree/include/config/kernel.release")
	copy=$work/checkout
	mkdir -p "$copy"
	cp -R "$top/Makefile" "$top/Kbuild" "$top/scripts" "$top/bindings" "$top/src" "$copy/"
}

# Debugging information takes a quarter of the time and is not looked at.
build() { make -C "$copy" -j2 KRUSTFLAGS=-Cdebuginfo=0; }

# tool NAME TEXT: a program in $work/bin that prints TEXT.
tool() {
	mkdir -p "$work/bin"
	printf '#!/bin/sh\necho "%s"\n' "$2" >"$work/bin/$1"
	chmod +x "$work/bin/$1"
}

tools() {
	rm -rf "$work/bin"
	tool rustc "$RUST_TEXT"
	tool bindgen "bindgen 0.71.1"
	tool gcc-14 "14"
	tool x86_64-linux-gnu-gcc-14 "14"
}

# tree DIR: a made-up kernel tree that passes all checks.
tree() {
	rm -rf "$1"
	mkdir -p "$1/include/config" "$1/include/generated" "$1/scripts/mod" "$1/rust"
	echo "# made up" >"$1/Makefile"
	echo "$RELEASE" >"$1/include/config/kernel.release"
	echo "#define UTS_RELEASE \"$RELEASE\"" >"$1/include/generated/utsrelease.h"
	cat >"$1/.config" <<-CONFIG
		CONFIG_X86_64=y
		CONFIG_RUST=y
		CONFIG_CC_IS_GCC=y
		CONFIG_GCC_VERSION=140200
		CONFIG_CC_VERSION_TEXT="x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0"
		CONFIG_RUSTC_VERSION_TEXT="$RUST_TEXT"
		CONFIG_BINDGEN_VERSION_TEXT="bindgen 0.71.1"
		CONFIG_DEBUG_INFO_BTF=y
	CONFIG
	cp "$1/.config" "$1/include/config/auto.conf"
	printf '0x0\t_RNvTest\tvmlinux\tEXPORT_SYMBOL_GPL\t\n0x0\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n' >"$1/Module.symvers"
	echo '--extern zerocopy' >"$1/scripts/Makefile.build"
	printf '#!/bin/sh\n' >"$1/scripts/mod/modpost"
	chmod +x "$1/scripts/mod/modpost"
	metadata "$1"
}

metadata() {
	for name in core compiler_builtins ffi build_error bindings uapi pin_init kernel zerocopy; do
		: >"$1/rust/lib$name.rmeta"
	done
	: >"$1/rust/libmacros.so"
	: >"$1/rust/libpin_init_internal.so"
	: >"$1/rust/libzerocopy_derive.so"
	: >"$1/scripts/target.json"
}
