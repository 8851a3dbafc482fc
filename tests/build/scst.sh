# SPDX-License-Identifier: GPL-2.0
# What the build says about SCST_DIR, with made-up SCST trees: nothing of SCST
# is needed, and nothing is compiled.
. ./lib.sh

PATH=$work/bin:$PATH
export PATH KDIR=$work/k IB_SRPT_SOURCE_DIR=$work/src
mkdir "$work/src"
scst=$work/scst
check=$top/scripts/check-kdir

# A tree that passes all checks, built in release mode.
fresh() {
	rm -rf "$scst"
	mkdir -p "$scst/scst/include" "$scst/scst/src"
	echo '/* made up */' >"$scst/scst/include/scst.h"
	echo '/* made up, too */' >"$scst/scst/include/scst_const.h"
	echo '#define CONFIG_SCST_TRACING' >"$scst/scst/include/build_mode.h"
	for pair in SCST_INTF_VER:scst.h SCST_CONST_INTF_VER:scst_const.h; do
		printf '#define %s "%s"\n' "${pair%:*}" \
			"$(sha1sum <"$scst/scst/include/${pair#*:}" | cut -d ' ' -f 1)"
	done >"$scst/scst/include/scst_itf_ver.h"
	symvers scst_rx_data debug_print_buffer
	printf 'ELF\0license=GPL\0vermagic=%s SMP preempt \0' "$RELEASE" >"$scst/scst/src/scst.ko"
}
symvers() { printf '0x00000000\t%s\tscst\tEXPORT_SYMBOL\tSCST\n' "$@" >"$scst/scst/src/Module.symvers"; }

# The same in regular expressions.
release=$(echo "$RELEASE" | tr + .)

tools
tree "$KDIR"
export ENGINE=scst SCST_DIR="$scst"

fresh
expect 0 "SCST: .*/scst, release mode" "a complete tree passes" "$check"
verify "... and is absolute where it was not" \
	sh -c "cd '$work' && SCST_DIR=scst '$check' 2>&1 | grep -q 'SCST: $scst,'"
echo '#define CONFIG_SCST_DEBUG' >>"$scst/scst/include/build_mode.h"
expect 0 "debug mode" "debug mode" "$check"
: >"$scst/scst/include/build_mode.h"
symvers scst_rx_data
expect 0 "performance mode" "performance mode" "$check"

expect 1 'ENGINE=scst needs a built SCST tree: name it with SCST_DIR=' "no SCST_DIR" env -u SCST_DIR "$check"
expect 1 'ENGINE=scst needs a built SCST tree' "make itself stops at the check" \
	env -u SCST_DIR make -s -C "$top" ENGINE=scst KDIR="$KDIR"
expect 1 'no SCST headers in /nowhere \(no scst/include/scst.h\)' "no such directory" env SCST_DIR=/nowhere "$check"
mkdir "$work/empty"
expect 1 "no SCST headers in $work/empty" "a directory without SCST" env SCST_DIR="$work/empty" "$check"

for file in include/build_mode.h include/scst_itf_ver.h src/Module.symvers src/scst.ko; do
	fresh
	rm "$scst/scst/$file"
	expect 1 "is not built \\(no scst/$file\\): run 'make scst' in it for kernel $release" \
		"a tree without $file" "$check"
done

fresh
printf 'ELF\0vermagic=6.12.1-amd64 SMP \0' >"$scst/scst/src/scst.ko"
expect 1 "was built for kernel 6.12.1-amd64, not for $release" "a tree built for another kernel" "$check"
printf 'ELF' >"$scst/scst/src/scst.ko"
expect 1 "was built for kernel \\(unknown\\), not for $release" "a scst.ko that does not say" "$check"

for header in scst.h scst_const.h; do
	fresh
	echo '/* edited */' >>"$scst/scst/include/$header"
	expect 1 "scst/include/$header in .* has changed since SCST was built there" "an edited $header" "$check"
done

fresh
: >"$scst/scst/include/build_mode.h"
expect 1 'build_mode.h in .* is not the mode that SCST was built in' "a release build, and make 2perf since" "$check"
fresh
symvers scst_rx_data
expect 1 'build_mode.h in .* is not the mode that SCST was built in' "a performance build, and make 2release since" \
	"$check"

fresh
expect 0 'everything is there' "other engines do not look at it" env ENGINE=lio SCST_DIR=/nowhere "$check"

finish
