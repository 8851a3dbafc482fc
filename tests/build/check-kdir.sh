# SPDX-License-Identifier: GPL-2.0
# scripts/check-kdir against made-up kernel trees and tools: for everything
# that can be wrong it must say the right sentence, and nothing else.
. ./lib.sh

PATH=$work/bin:$PATH
export PATH KDIR=$work/k IB_SRPT_SOURCE_DIR=$work/src
mkdir "$work/src"
check=$top/scripts/check-kdir

fresh() { tools; tree "$KDIR"; }
edit() { sed -i "$1" "$KDIR/include/config/auto.conf"; }
release() { echo "$1" >"$KDIR/include/config/kernel.release"; }

fresh
expect 0 'everything is there' "a complete tree passes" "$check"
expect 0 'everything is there' "make check passes, too" make -s -C "$top" check

expect 1 'no kernel headers at /nowhere/lib/modules/7.3.9/build: .* linux-headers-7.3.9' \
	"no headers" env KDIR=/nowhere/lib/modules/7.3.9/build "$check"
expect 1 'no kernel headers at /nowhere' "make itself stops at the check" \
	make -s -C "$top" KDIR=/nowhere

fresh; rm "$KDIR/include/config/auto.conf"
expect 1 'not configured and prepared: run' "a tree that was never configured" "$check"

fresh; release 6.12.1-amd64
expect 1 'kernel 6.12.1-amd64 is too old: series 7.2 and 7.3 are supported' "an old kernel" "$check"
release 6.19.12
expect 1 'too old' "the series before the oldest" "$check"
release 7.0.0-22-generic
expect 0 'warning: .*older than series 7.2, the oldest this was tested with' "an older one than was tested gets a warning" "$check"
release 7.10.1
expect 0 'warning: .*newer than series 7.3' "a new kernel gets a warning only" "$check"
release 7.2.12+deb13-amd64
expect 0 'everything is there' "series 7.2" "$check"

fresh; edit /CONFIG_RUST=/d
expect 1 'built without CONFIG_RUST=y' "a kernel without Rust" "$check"

fresh; tool rustc "rustc 1.95.0 (59807616e 2026-04-14)"
if [ "$(/usr/bin/rustc --version 2>/dev/null)" = "$RUST_TEXT" ]; then
	expect 0 '\(/usr/bin/rustc' "the right rustc is found behind a wrong one" "$check"
else
	expect 1 'rustc is "rustc 1.95.0 .*" but kernel .* was built with "rustc 1.85.1 .*RUSTC=' "another rustc" "$check"
fi
expect 1 'is "rustc 1.95.0 .*" but kernel' "another rustc, named by the user" env RUSTC=rustc "$check"
tool my-rustc "$RUST_TEXT"
expect 0 '\(my-rustc' "the right rustc, named by the user" env RUSTC=my-rustc "$check"
tool rustc "rustc 1.85.1 (4eb161250 2025-03-15)"
expect 1 'exactly that compiler' "the same rustc version from elsewhere" env RUSTC=rustc "$check"
expect 1 'no Rust compiler \(/nowhere/rustc\)' "no rustc" env RUSTC=/nowhere/rustc "$check"

fresh; tool bindgen "bindgen 0.69.5"
expect 1 'bindgen is "bindgen 0.69.5" but .*"bindgen 0.71.1"' "an old bindgen" "$check"
tool bindgen "bindgen 0.72.0"
expect 0 'everything is there' "a newer bindgen passes" "$check"
expect 1 'there is no bindgen \(/nowhere/bindgen\)' "no bindgen" env BINDGEN=/nowhere/bindgen "$check"

fresh; edit 's/GCC_VERSION=14/GCC_VERSION=93/; s/gcc-14/gcc-93/'
expect 1 'built by GCC 93 and gcc-93 is not there' "another GCC" "$check"
fresh
expect 1 'built by GCC, so LLVM=1 does not fit' "LLVM for a kernel built by GCC" env LLVM=1 "$check"
edit 's/CC_IS_GCC/CC_IS_CLANG/; s/CONFIG_GCC_VERSION.*/CONFIG_CLANG_VERSION=930107/'
expect 1 'built by clang, and clang-93 is none or is missing' "no clang for a kernel built by clang" \
	env LLVM=-93 "$check"
tool clang "clang version 93.1.7"
expect 0 'LLVM=1\)' "clang is chosen for a kernel built by clang" "$check"

# A kernel of another architecture.
arm64() { edit 's/X86_64/ARM64/; s/x86_64-linux-gnu/aarch64-linux-gnu/'; }
fresh; tool uname x86_64
expect 0 'CC=x86_64-linux-gnu-gcc-14\)' "a kernel for this machine needs no more" env ARCH=x86_64 "$check"
expect 1 'is one for x86, not for ARCH=arm64: ' "a kernel for this machine, and ARCH= of another" \
	env ARCH=arm64 "$check"
arm64
expect 1 'GCC 14 and aarch64-linux-gnu-gcc-14 is not there: .*apt-get install gcc-14-aarch64-linux-gnu\)' \
	"a kernel for another machine, and no compiler for it" "$check"
tool aarch64-linux-gnu-gcc-14 14
expect 0 'CC=aarch64-linux-gnu-gcc-14, ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-\)' "... and a compiler for it" "$check"
expect 0 'everything is there' "... which ARCH= names, too" make -s -C "$top" check ARCH=arm64
expect 1 'is one for arm64, not for ARCH=x86_64: ' "... and ARCH= of this one" env ARCH=x86_64 "$check"
tool my-gcc-14 14
expect 0 'CC=my-gcc-14, ARCH=arm64 CROSS_COMPILE=my-\)' "... with compilers that the user names" \
	env CROSS_COMPILE=my- CC=my-gcc-14 "$check"
rm "$KDIR/scripts/target.json"; tool uname aarch64
expect 0 'CC=aarch64-linux-gnu-gcc-14\)' "the same kernel on its own machine, without target.json" "$check"

fresh; rm "$KDIR/rust/libkernel.rmeta"
expect 1 'Rust metadata .*\(rust/libkernel.rmeta\).*apt-get install linux-source-7.3' \
	"one metadata file is missing, and so is the source package" "$check"
fresh; rm "$KDIR"/rust/* "$KDIR/scripts/target.json"
expect 1 '\(rust/libcore.rmeta and others\)' "all metadata is missing" "$check"
: >"$work/src/linux-source-7.3.tar.xz"
expect 0 'scripts/prepare-kdir generates it' "... but can be generated" "$check"
rm "$work/src/linux-source-7.3.tar.xz"
: >"$KDIR/Kconfig"
expect 1 "run 'make modules_prepare' in that tree" "... or belongs to a full source tree" "$check"
fresh; rm "$KDIR/scripts/target.json"
expect 1 'scripts/target.json' "no target.json" "$check"

fresh; rm "$KDIR/scripts/mod/modpost"
expect 1 'no scripts/mod/modpost' "no modpost" "$check"
fresh; : >"$KDIR/Module.symvers"
expect 1 'no Module.symvers' "no Module.symvers" "$check"

fresh; tool rustc "rustc 1.2.3"; tool bindgen "bindgen 0.1.0"; : >"$KDIR/Module.symvers"
export RUSTC=rustc
expect 1 bindgen "several problems" "$check"
verify "... are all said, in a line each" [ "$(grep -c '^ib_srpt: error: ' "$work/out")" -eq 3 -a \
	"$(wc -l <"$work/out")" -eq 3 ]
unset RUSTC

fresh
expect 1 "no engine 'nbd': ENGINE= may be .*lio" "an unknown engine" \
	make -s -C "$top" ENGINE=nbd KDIR="$KDIR"
expect 1 "no engine 'nbd': ENGINE= may be .*lio" "... is one for make check, too" env ENGINE=nbd "$check"

# Metadata that has to be generated, and the source package of another kernel.
fresh
rm "$KDIR/rust/"*
: >"$KDIR/.config"
: >"$work/src/linux-source-7.3.tar.xz"
export IB_SRPT_CACHE="$work/cache"
printf '#!/bin/sh\ncase $* in *linux-source*) echo installed 7.3.3-1 ;; *linux-headers*) echo installed 7.3.4-1 ;; esac\n' \
	>"$work/bin/dpkg-query"
chmod +x "$work/bin/dpkg-query"
expect 1 'linux-source-7.3 is version 7.3.3-1 but kernel .* is version 7.3.4-1: apt-get install linux-source-7.3=7.3.4-1' \
	"the source package of another kernel" "$check"
mkdir -p "$work/cache/kdir/$RELEASE-rustc-1.85.1-abc"
: >"$work/cache/kdir/$RELEASE-rustc-1.85.1-abc/.ib_srpt-complete"
expect 0 'everything is there' "... is no obstacle once a tree was prepared" "$check"
rm "$work/bin/dpkg-query"
expect 0 '^  make all ' "make help works" make -s -C "$top" help
cp "$work/out" "$work/help"
for target in $(sed -n 's/^\.PHONY: //p' "$top/Makefile"); do
	grep -q "^  make $target " "$work/help" || echo "$target"
done >"$work/missing"
verify "make help lists every target" [ ! -s "$work/missing" ]

# An empty RUSTC would be a compiler without a name to cargo.
exported() { (unset RUSTC; make -s -C "$top" "$@" --eval 'exported: ; @env' exported | grep -c '^RUSTC=') || :; }
verify "no empty RUSTC reaches other programs" [ "$(exported)" = 0 ]
verify "one that the user chose does" [ "$(exported RUSTC=rustc-1.85)" = 1 ]

finish
