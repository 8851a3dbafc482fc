# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the build scripts know about a kernel tree and its tools. Sourced, with
# KDIR and optionally ARCH, CROSS_COMPILE, RUSTC, BINDGEN, CC, LLVM set; see kdir_check.
#
# Not here: repairing a tree (prepare-kdir) and running Kbuild (kbuild).

# Series this module is written for and tested with, oldest first.
SUPPORTED_SERIES="7.2 7.3"
# The oldest that may have what it needs: make builds for it, with a warning.
OLDEST_SERIES=7.0

# Where Debian's linux-source-<series> packages put their archive.
SOURCE_DIR=${IB_SRPT_SOURCE_DIR:-/usr/src}

say() { printf 'ib_srpt: %s\n' "$*" >&2; }

problems=0
problem() {
	problems=$((problems + 1))
	say "error: $*"
}

# config NAME: the value of CONFIG_NAME without quotes, empty if not set.
config() { sed -n "s/^CONFIG_$1=//p" "$kdir_config" | sed 's/^"\(.*\)"$/\1/' | head -n 1; }

# at_least HAVE WANT: is version HAVE the same as WANT or newer?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# series_of VERSION: 7.3.4+deb13-amd64 -> 7.3
series_of() { printf '%s\n' "$1" | sed -n 's/^\([0-9]*\.[0-9]*\).*/\1/p'; }

# supported_releases: an extended regular expression for the releases of the oldest
# supported series (its numbers have one digit) and of all newer ones, known or not: those
# that the package builds for.
supported_releases() {
	oldest=${SUPPORTED_SERIES%% *}
	printf '^(%s\\.([%s-9]|[1-9][0-9]+)|([%s-9]|[1-9][0-9]+)\\.[0-9]+)([^0-9]|$)' \
		"${oldest%.*}" "${oldest#*.}" $((${oldest%.*} + 1))
}

# kdir_untested: of what series the kernel is if this was not tested with it, in words.
kdir_untested() {
	series=$(series_of "$kdir_release")
	if ! at_least "${SUPPORTED_SERIES##* }" "$series"; then
		echo "newer than series ${SUPPORTED_SERIES##* }, the newest"
	elif ! at_least "$series" "${SUPPORTED_SERIES%% *}"; then
		echo "older than series ${SUPPORTED_SERIES%% *}, the oldest"
	fi
}

# upstream_of VERSION: 7.3.4+deb13-amd64 or 7.3.4-1~bpo13+1 -> 7.3.4
upstream_of() { printf '%s\n' "$1" | sed -n 's/^\([0-9][0-9.]*[0-9]\).*/\1/p'; }

# debian_version PACKAGE: its version if its files are there. While DKMS builds for
# a kernel that is being installed, its packages are unpacked but not configured.
debian_version() {
	dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null |
		sed -nE 's/^(installed|unpacked|half-configured|triggers-[a-z]*) //p'
}

# kdir_open: find what there is in KDIR. Sets kdir_config and kdir_release.
kdir_open() {
	kdir_release=
	if [ ! -e "$KDIR/Makefile" ]; then
		wanted=$(printf '%s\n' "$KDIR" | sed -n 's|.*/lib/modules/\([^/]*\)/build/*$|\1|p')
		problem "there are no kernel headers at $KDIR: install them (Debian: apt-get install" \
			"linux-headers-${wanted:-<release>}) or name another kernel tree with KDIR=<directory>"
		return 1
	fi
	KDIR=$(cd "$KDIR" && pwd -P)
	kdir_config=$KDIR/include/config/auto.conf
	kdir_release=$(cat "$KDIR/include/config/kernel.release" 2>/dev/null)
	if [ ! -r "$kdir_config" ] || [ -z "$kdir_release" ]; then
		problem "the kernel tree $KDIR is not configured and prepared: run 'make olddefconfig" \
			"modules_prepare' in it, or name another tree with KDIR=<directory>"
		return 1
	fi
}

kdir_check_kernel() {
	untested=$(kdir_untested)
	if ! at_least "$(series_of "$kdir_release")" "$OLDEST_SERIES"; then
		problem "kernel $kdir_release is too old: series $(echo "$SUPPORTED_SERIES" |
			sed 's/ / and /g') are supported (Debian 13: linux-image-amd64 or -arm64 from trixie-backports)"
	elif [ -n "$untested" ]; then
		say "warning: kernel $kdir_release is $untested this was tested with"
	fi
	if [ "$(config RUST)" != y ]; then
		problem "kernel $kdir_release was built without CONFIG_RUST=y, and no Rust module can be built" \
			"for such a kernel: use one that has it (Debian's of series ${SUPPORTED_SERIES%% *} and later do)"
		return 1
	fi
}

# kdir_find_arch: sets kdir_arch to what the kernel calls the architecture it is for,
# and kdir_make to the words that tell its make. Empty if it is this machine's, or none
# that is known here.
kdir_find_arch() {
	kdir_arch= kdir_make=
	case $(config X86_64)/$(config ARM64) in
	y/*) kdir_arch=x86 prefix=x86_64-linux-gnu- ;;
	*/y) kdir_arch=arm64 prefix=aarch64-linux-gnu- ;;
	*) return ;;
	esac
	case $(uname -m)/$kdir_arch in
	x86_64/x86 | aarch64/arm64) return ;;
	esac
	: "${CROSS_COMPILE:=$prefix}"
	kdir_make="ARCH=$kdir_arch CROSS_COMPILE=$CROSS_COMPILE"
}

kdir_check_arch() {
	kdir_find_arch
	case $ARCH/$kdir_arch in
	/* | */ | "$kdir_arch/$kdir_arch" | x86_64/x86) ;;
	*)
		problem "kernel $kdir_release is one for $kdir_arch, not for ARCH=$ARCH: name headers for that" \
			"architecture with KDIR=<directory> (Debian: those of foreign architectures are installed like" \
			"linux-headers-<release>:arm64)"
		;;
	esac
}

kdir_check_rustc() {
	want=$(config RUSTC_VERSION_TEXT)
	found=
	for candidate in ${RUSTC:-rustc /usr/bin/rustc}; do
		have=$($candidate --version 2>/dev/null) || continue
		if [ "$have" = "$want" ]; then
			RUSTC=$candidate
			return
		fi
		found=${found:-$candidate is \"$have\"}
	done
	if [ -z "$found" ]; then
		problem "there is no Rust compiler (${RUSTC:-rustc}), and kernel $kdir_release needs \"$want\":" \
			"install it (Debian: apt-get install rustc rust-src) or name it with RUSTC=<program>"
	else
		problem "$found but kernel $kdir_release was built with \"$want\", and a module needs exactly" \
			"that compiler: install the distribution's (Debian: apt-get install rustc rust-src) or name" \
			"it with RUSTC=<program>"
	fi
	return 1
}

kdir_check_bindgen() {
	want=$(config BINDGEN_VERSION_TEXT)
	want=${want#bindgen }
	want=${want:-0.71.1}
	BINDGEN=${BINDGEN:-bindgen}
	have=$($BINDGEN --version 2>/dev/null)
	if [ -z "$have" ]; then
		problem "there is no bindgen ($BINDGEN): install it (Debian: apt-get install bindgen) or name" \
			"it with BINDGEN=<program>"
	elif ! at_least "${have#bindgen }" "$want"; then
		problem "$BINDGEN is \"$have\" but kernel $kdir_release was built with \"bindgen $want\", and an" \
			"older one may misread its headers: install that version or a newer one, or name it with" \
			"BINDGEN=<program>"
	fi
}

# Sets kdir_cc to the make variable that selects the compiler, and HOSTCC to the one
# for programs that run here.
kdir_check_cc() {
	if [ "$(config CC_IS_CLANG)" = y ]; then
		major=$(($(config CLANG_VERSION) / 10000))
		if [ -z "$LLVM" ] && [ -z "$CC" ]; then
			LLVM=1
			command -v clang >/dev/null || LLVM=-$major
		fi
		case $LLVM in
		"") clang=$CC kdir_cc="CC=$CC" ;;
		-*) clang=clang$LLVM kdir_cc="LLVM=$LLVM" ;;
		*/) clang=${LLVM}clang kdir_cc="LLVM=$LLVM" ;;
		*) clang=clang kdir_cc="LLVM=$LLVM" ;;
		esac
		if ! $clang --version 2>/dev/null | grep -q clang; then
			problem "kernel $kdir_release was built by clang, and $clang is none or is missing: install" \
				"clang and lld (Debian: apt-get install clang-$major lld-$major llvm-$major), or name" \
				"them with LLVM=1 or LLVM=-<version>"
		fi
		HOSTCC=$clang
		return
	fi

	if [ -n "$LLVM" ]; then
		problem "kernel $kdir_release was built by GCC, so LLVM=$LLVM does not fit: leave it out"
		return
	fi
	major=$(($(config GCC_VERSION) / 10000))
	first=$(config CC_VERSION_TEXT)
	cross=${kdir_make:+$CROSS_COMPILE}
	for candidate in "${CC:-${first%% *}}" "${CC:-${cross}gcc-$major}" "${CC:-${cross}gcc}"; do
		have=$($candidate -dumpversion 2>/dev/null) || continue
		if [ "${have%%.*}" = "$major" ] || [ -n "$CC" ]; then
			[ "${have%%.*}" = "$major" ] ||
				say "warning: $CC is GCC $have but kernel $kdir_release was built by GCC $major"
			CC=$candidate HOSTCC=$candidate kdir_cc="CC=$candidate"
			[ -z "$cross" ] || HOSTCC=gcc
			return
		fi
	done
	package=gcc-$major${cross:+-${cross%-}}
	problem "kernel $kdir_release was built by GCC $major and ${CC:-${cross}gcc-$major} is not there: install it" \
		"(Debian: apt-get install $package) or name another with CC=<program>"
}

# Prints the Rust metadata that is missing in KDIR, one file per line.
kdir_missing_metadata() {
	files="rust/libcore.rmeta rust/libcompiler_builtins.rmeta rust/libffi.rmeta
		rust/libbuild_error.rmeta rust/libbindings.rmeta rust/libuapi.rmeta
		rust/libpin_init.rmeta rust/libkernel.rmeta rust/libmacros.so
		rust/libpin_init_internal.so"
	if grep -qs -e '--extern zerocopy' "$KDIR/scripts/Makefile.build" \
			"$KDIR/source/scripts/Makefile.build"; then
		files="$files rust/libzerocopy.rmeta rust/libzerocopy_derive.so"
	fi
	[ "$(config X86_64)" = y ] && files="$files scripts/target.json"
	for file in $files; do
		[ -e "$KDIR/$file" ] || echo "$file"
	done
}

# Sets kdir_prepare if KDIR needs, and can have, a prepared stand-in.
kdir_check_metadata() {
	kdir_prepare=
	missing=$(kdir_missing_metadata)
	if [ -n "$missing" ]; then
		series=$(series_of "$kdir_release")
		what="the Rust metadata of kernel $kdir_release is missing in $KDIR ($(echo "$missing" |
			head -n 1)$([ "$(echo "$missing" | wc -l)" -gt 1 ] && echo " and others"))"
		if [ ! -r "$KDIR/.config" ] || [ ! -s "$KDIR/Module.symvers" ]; then
			problem "$what: run 'make modules_prepare' in that tree"
		elif [ -r "$SOURCE_DIR/linux-source-$series.tar.xz" ]; then
			kdir_prepare=y
		elif [ -e "$KDIR/Kconfig" ]; then
			problem "$what: run 'make modules_prepare' in that tree"
		else
			version=$(debian_version "linux-headers-$kdir_release")
			problem "$what, as no header package ships it: apt-get install" \
				"linux-source-$series${version:+=$version} and run make again, which then generates it"
		fi
	elif [ ! -x "$KDIR/scripts/mod/modpost" ]; then
		problem "the kernel tree $KDIR is not prepared for building modules (no scripts/mod/modpost):" \
			"run 'make modules_prepare' in it"
	elif [ ! -s "$KDIR/Module.symvers" ]; then
		problem "the kernel tree $KDIR has no Module.symvers, without which no module can be linked:" \
			"build the kernel there ('make') or copy the file from where it was built"
	fi
}

# engine_check: is there such an ENGINE? Needs top.
engine_check() {
	[ "$ENGINE" != rdma ] && [ -e "$top/bindings/${ENGINE}_helper.h" ] && return
	problem "there is no engine '$ENGINE': ENGINE= may be" \
		"$(cd "$top/bindings" && ls -- *_helper.h | sed -n 's/_helper.h$//; /^rdma$/!p' | paste -sd ' ')"
	return 1
}

# kdir_has_stand_in: has a tree been prepared for the kernel? It is good without
# the source.
kdir_has_stand_in() {
	for tree in "${IB_SRPT_CACHE:-/var/cache/ib_srpt}/kdir/$kdir_release"-rustc-*/; do
		[ -e "$tree/.ib_srpt-complete" ] && return
	done
	return 1
}

# kdir_check_source: is the source package, if there is one, that of this very
# kernel?
kdir_check_source() {
	package=linux-source-$(series_of "$kdir_release")
	have=$(debian_version "$package") want=$(debian_version "linux-headers-$kdir_release")
	if [ -n "$have" ] && [ -n "$want" ] && [ "$have" != "$want" ]; then
		problem "$package is version $have but kernel $kdir_release is version $want:" \
			"apt-get install $package=$want, or upgrade the kernel and its headers"
		return 1
	fi
}

# kdir_check: says everything that is in the way of a build, one sentence per
# problem. Sets RUSTC, BINDGEN, CC or LLVM, HOSTCC, kdir_cc, kdir_make, and kdir_prepare.
kdir_check() {
	if [ ! -r /proc/self/maps ]; then
		problem "/proc is not mounted, and neither rustc nor objtool works without it: mount it" \
			"(mount -t proc proc /proc)"
	fi
	if kdir_open && kdir_check_kernel; then
		kdir_check_arch
		kdir_check_rustc
		kdir_check_bindgen
		kdir_check_cc
		kdir_check_metadata
	fi
	[ "$problems" -eq 0 ]
}
