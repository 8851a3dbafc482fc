# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the build scripts know about a built SCST tree. Sourced after kdir.sh,
# with SCST_DIR set and after kdir_open.
#
# Not here: building SCST, which its own makefiles do.

# The release that a module, which is not compressed, was built for.
module_release() { tr '\0' '\n' <"$1" | sed -n 's/^vermagic=\([^ ]*\).*/\1/p' | head -n 1; }

# scst_check: says in one sentence what is in the way of a build with the SCST
# tree SCST_DIR, if anything. Makes SCST_DIR absolute.
scst_check() {
	if [ -z "$SCST_DIR" ]; then
		problem "ENGINE=scst needs a built SCST tree: name it with SCST_DIR=<directory>"
		return 1
	fi
	if [ ! -e "$SCST_DIR/scst/include/scst.h" ]; then
		problem "there are no SCST headers in $SCST_DIR (no scst/include/scst.h): name the top" \
			"directory of an SCST tree with SCST_DIR=<directory>"
		return 1
	fi
	SCST_DIR=$(cd "$SCST_DIR" && pwd -P)
	include=$SCST_DIR/scst/include
	built=$SCST_DIR/scst/src
	for file in "$include/build_mode.h" "$include/scst_itf_ver.h" "$built/Module.symvers" "$built/scst.ko"; do
		if [ ! -e "$file" ]; then
			problem "the SCST tree $SCST_DIR is not built (no ${file#"$SCST_DIR"/}): run 'make scst' in" \
				"it for kernel $kdir_release, or name another one with SCST_DIR=<directory>"
			return 1
		fi
	done
	release=$(module_release "$built/scst.ko")
	if [ "$release" != "$kdir_release" ]; then
		problem "the SCST tree $SCST_DIR was built for kernel ${release:-(unknown)}, not for" \
			"$kdir_release: build it again for that kernel, or name another one with SCST_DIR=<directory>"
		return 1
	fi
	# SCST compares this when modules register with it.
	for pair in SCST_INTF_VER:scst.h SCST_CONST_INTF_VER:scst_const.h; do
		header=$include/${pair#*:}
		if ! grep -q "define ${pair%:*} \"$(sha1sum <"$header" | cut -d ' ' -f 1)\"" "$include/scst_itf_ver.h"; then
			problem "${header#"$SCST_DIR"/} in $SCST_DIR has changed since SCST was built there: build it again"
			return 1
		fi
	done
	# Of the modes, only tracing changes structures; scst.ko has this symbol then.
	traces=0 symbol=0
	! grep -Eq 'define CONFIG_SCST_(TRACING|DEBUG)\>' "$include/build_mode.h" || traces=1
	! grep -q "$(printf '\tdebug_print_buffer\t')" "$built/Module.symvers" || symbol=1
	if [ "$traces" != "$symbol" ]; then
		problem "scst/include/build_mode.h in $SCST_DIR is not the mode that SCST was built in there:" \
			"build it again"
		return 1
	fi
}

# scst_mode: how SCST was built, in SCST's own words.
scst_mode() {
	mode=$SCST_DIR/scst/include/build_mode.h
	if grep -q CONFIG_SCST_DEBUG "$mode"; then
		echo debug mode
	elif grep -q CONFIG_SCST_TRACING "$mode"; then
		echo release mode
	else
		echo performance mode
	fi
}
