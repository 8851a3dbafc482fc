# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Which RDMA headers the module is built against: the kernel's own, or those of
# an OFED distribution whose modules take the place of the kernel's. Sourced
# after kdir.sh; rdma_choose decides, rdma_check_core compares the result with
# the ib_core that is installed.
#
# Not here: the compiler flags that follow (Kbuild), the differences between
# headers (bindings/probes, scripts/probe-headers).

# What the administrator says about this when DKMS builds: a file that may set OFED
# and OFED_DIR. DKMS's configuration names it, so a name is also the sign that
# packages are being installed around this very build.
SETTINGS=$IB_SRPT_SETTINGS

# Where modules are installed, where the kernel's own RDMA modules are below its
# folder, and where OFED packages unpack their headers.
MODULES_DIR=${IB_SRPT_MODULES_DIR:-/lib/modules}
RDMA_IN_TREE=kernel/drivers/infiniband
OFED_ROOTS=${IB_SRPT_OFED_ROOTS:-/usr/src}

# Packages with an OFED's kernel modules and headers; MLNX_OFED and NVIDIA's DOCA share
# their names. With rpm, headers have packages of their own, unless DKMS makes both.
# Those of Ubuntu's archive (DOCA-OFED) have the version in their names, and bring no
# headers; the prebuilt ones have the kernel's release, too.
OFED_DEB="mlnx-ofed-kernel-dkms mlnx-ofed-kernel-modules"
ofed_deb_ubuntu() {
	printf '%s\n' "linux-main-modules-doca-ofed-*-$kdir_release" "linux-modules-doca-ofed-*-$kdir_release" \
		'doca-ofed-*-dkms'
}
OFED_RPM_DKMS="mlnx-ofa_kernel-dkms"
OFED_RPM_MODULES="mlnx-ofa_kernel compat-rdma"
OFED_RPM_HEADERS="mlnx-ofa_kernel-devel compat-rdma-devel"

# deb_state PATTERN: name, state and version of the first such package of which dpkg
# has files.
deb_state() {
	dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' "$1" 2>/dev/null |
		grep -vE '^[^ ]+ (not-installed|config-files) ' | head -n 1 || :
}

# first_deb PATTERN...: name and version of the first that is installed. One
# that is there by half is a problem, but not if DKMS builds while packages are
# being installed: then its headers are looked at as all others.
first_deb() {
	for package; do
		state=$(deb_state "$package")
		package=${state%% *} state=${state#* }
		case $state in
		"") ;;
		installed\ * | triggers-*)
			echo "$package ${state#* }"
			return
			;;
		unpacked\ * | half-configured\ *)
			[ -n "$SETTINGS" ] && echo "$package ${state#* }" || echo "$package ${state%% *}!"
			return
			;;
		*)
			echo "$package ${state%% *}!"
			return
			;;
		esac
	done
}

first_rpm() {
	for package; do
		version=$(rpm -q --qf '%{VERSION}-%{RELEASE}\n' "$package" 2>/dev/null | tail -n 1) &&
			[ -n "$version" ] && rpm -q "$package" >/dev/null 2>&1 && echo "$package $version" && return
	done
	return 0
}

# rdma_flavor PACKAGE: how the distribution is called, and its folder.
rdma_flavor() {
	case $1 in
	compat-rdma*) rdma_what=OFED rdma_folder=compat-rdma ;;
	*doca-ofed-*) rdma_what=DOCA-OFED rdma_folder=ofa_kernel ;;
	*) rdma_what=MLNX_OFED rdma_folder=ofa_kernel ;;
	esac
}

# rdma_find_packages: sets rdma_what, rdma_folder, rdma_version and rdma_package
# if packages say that there is an OFED.
rdma_find_packages() {
	modules=$(first_deb $OFED_DEB)
	[ -n "$modules" ] || modules=$(ofed_deb_ubuntu | (
		set --
		while read -r pattern; do set -- "$@" "$pattern"; done
		first_deb "$@"
	))
	headers=$modules
	case $modules in
	*!)
		state=${modules#* }
		problem "package ${modules%% *} is ${state%!}, so its headers cannot be trusted: finish" \
			"its installation (dpkg --configure -a), remove it, or say OFED=0"
		return 1
		;;
	esac
	if [ -z "$modules" ]; then
		modules=$(first_rpm $OFED_RPM_DKMS)
		headers=$modules
	fi
	if [ -z "$modules" ]; then
		modules=$(first_rpm $OFED_RPM_MODULES) headers=$(first_rpm $OFED_RPM_HEADERS)
	fi
	if [ -n "$modules" ] && [ -z "$headers" ]; then
		problem "package ${modules%% *} is installed, and ${modules%% *}-devel with its headers is not:" \
			"install it, or say OFED=0 to build for the kernel's own modules"
		return 1
	elif [ -n "$headers" ] && [ -z "$modules" ]; then
		package=${headers%% *}
		problem "package $package is installed, and ${package%-devel} with the modules that belong to" \
			"these headers is not: install it, or say OFED=0 to build for the kernel's own modules"
		return 1
	fi
	[ -n "$modules" ] || return 0
	rdma_flavor "$modules"
	rdma_package=${headers%% *} rdma_version="${headers%% *} ${headers#* }"
}

# rdma_find_ofed_info: the same from what the program ofed_info prints.
rdma_find_ofed_info() {
	text=$(ofed_info 2>/dev/null | head -n 1)
	case $text in
	MLNX_OFED* | OFED-internal* | DOCA*) rdma_what=MLNX_OFED rdma_folder=ofa_kernel ;;
	OFED-*) rdma_what=OFED rdma_folder=compat-rdma ;;
	*) return 0 ;;
	esac
	rdma_package=ofed_info
	rdma_version=${text%:}
	# The program comes with the libraries, too. Modules are noticed by their ib_core.
	if [ ! -e "$OFED_ROOTS/$rdma_folder" ] && [ ! -L "$OFED_ROOTS/$rdma_folder" ]; then
		say "warning: ofed_info says that there is $rdma_version, but there is no $OFED_ROOTS/$rdma_folder:" \
			"taken for user space only"
		rdma_what= rdma_folder= rdma_version= rdma_package=
	fi
}

# rdma_installed_core: sets rdma_core to the ib_core that is loaded for the kernel, the one
# modules.dep leads to, and rdma_in_tree if it is the kernel's own. What lies elsewhere
# is an OFED's.
rdma_installed_core() {
	modules=$MODULES_DIR/$kdir_release
	rdma_in_tree=
	rdma_core=$(sed -n 's/^\([^:]*\/\)*\(ib_core\.ko[^:]*\):.*/\1\2/p' "$modules/modules.dep" 2>/dev/null | head -n 1)
	case $rdma_core in "" | /*) ;; *) rdma_core=$modules/$rdma_core ;; esac
	case $rdma_core in "" | "$modules/$RDMA_IN_TREE"/*) rdma_in_tree=y ;; esac
}

# rdma_find_core: the same from where the installed ib_core lies.
rdma_find_core() {
	rdma_installed_core
	[ -z "$rdma_in_tree" ] || return 0
	rdma_what=OFED rdma_folder=ofa_kernel
	rdma_package="the place of the installed ib_core, $rdma_core,"
	rdma_version="by the place of $rdma_core"
	case $rdma_core in */doca-ofed-*) rdma_what=DOCA-OFED ;; esac
	[ ! -e "$OFED_ROOTS/compat-rdma" ] || rdma_folder=compat-rdma
}

# rdma_kernel_of DIR: the kernel for which the headers were configured, if
# something there tells.
rdma_kernel_of() {
	sed -n 's/^KVERSION *:*= *//p' "$1/configure.mk.kernel" 2>/dev/null | tail -n 1 | grep . && return
	name=$(basename "$(readlink -f "$1")")
	case $name in
	[0-9]*.[0-9]*) echo "$name" ;;
	esac
}

# rdma_pick ROOT [FIRST]: sets rdma_dir to the headers below ROOT for this kernel. A
# directory of the kernel's own comes before "default", which may be a link that
# was made for another kernel. ROOT may be links into ROOT-dkms, which may be missing.
# FIRST comes before all.
rdma_pick() {
	hint="install them, name others with OFED_DIR=<directory>, or say OFED=0"
	again="(with DKMS: dkms autoinstall -k $kdir_release)"
	case $rdma_package in
	"" | mlnx-* | compat-rdma* | ofed_info) ;;
	*) hint="install.md says how to make them; or name others with OFED_DIR=<directory>, or say OFED=0" again= ;;
	esac
	for dir in ${2:+"$2"} "$1/$(uname -m)/$kdir_release" "$1/$kdir_release" \
			"$1-dkms/$(uname -m)/$kdir_release" "$1/default" "$1"; do
		[ -e "$dir" ] || [ -L "$dir" ] || continue
		# The root itself counts if it has headers, or if nothing else is there.
		[ "$dir" != "$1" ] || [ -e "$dir/include" ] || continue
		if [ ! -e "$dir" ]; then
			problem "$dir is a link to $(readlink "$dir"), which does not exist, so there are no OFED" \
				"headers for kernel $kdir_release: $hint"
			return 1
		fi
		rdma_dir=$(cd "$dir" && pwd -P)
		other=$(rdma_kernel_of "$dir")
		if [ -n "$other" ] && [ "$other" != "$kdir_release" ]; then
			problem "the OFED headers in $dir were made for kernel $other, not for $kdir_release: $hint" $again
			return 1
		fi
		for file in include/rdma/ib_verbs.h Module.symvers; do
			[ -s "$rdma_dir/$file" ] && continue
			problem "the OFED headers in $dir are not complete, $file is missing: $hint"
			return 1
		done
		return
	done
	problem "${rdma_package:+$rdma_package says that there is $rdma_what, but }there are no OFED headers for" \
		"kernel $kdir_release in $1: $hint" $again
	return 1
}

# rdma_choose: sets rdma_dir (empty: the kernel's own headers), rdma_what,
# rdma_version, rdma_symvers. Needs KDIR and kdir_release.
rdma_choose() {
	rdma_dir= rdma_what= rdma_folder= rdma_version= rdma_package=
	if [ -z "$OFED$OFED_DIR" ] && [ -r "$SETTINGS" ]; then
		. "$SETTINGS"
	fi
	case $OFED in
	"" | 0) ;;
	*)
		problem "OFED=$OFED: only OFED=0 is known, for the kernel's own headers; OFED_DIR=<directory>" \
			"names those of an OFED"
		return 1
		;;
	esac
	if [ -n "$OFED_DIR" ]; then
		if [ "$OFED" = 0 ]; then
			problem "OFED=0 and OFED_DIR=$OFED_DIR contradict each other: leave one out"
			return 1
		elif [ ! -d "$OFED_DIR" ]; then
			problem "there is no directory $OFED_DIR (OFED_DIR)"
			return 1
		fi
		rdma_what=OFED rdma_version="named with OFED_DIR"
		first=
		[ ! -d "$OFED_DIR/include/rdma" ] || first=$OFED_DIR
		rdma_pick "$OFED_DIR" "$first" || return 1
	elif [ "$OFED" != 0 ]; then
		rdma_find_packages || return 1
		[ -n "$rdma_what" ] || rdma_find_ofed_info
		[ -n "$rdma_what" ] || rdma_find_core
		if [ -n "$rdma_what" ]; then
			rdma_pick "$OFED_ROOTS/$rdma_folder" || return 1
		fi
	fi
	rdma_symvers=${rdma_dir:-$KDIR}/Module.symvers
	rdma_check_core
}

# rdma_say: the line about what the module is built against.
rdma_say() {
	if [ -n "$rdma_dir" ]; then
		say "building against the RDMA headers of $rdma_what ($rdma_version) in $rdma_dir, for kernel" \
			"$kdir_release"
	else
		say "building against the RDMA headers of the kernel ($(upstream_of "$kdir_release")), for kernel" \
			"$kdir_release"
	fi
}

# rdma_key TREE: a hash of the headers that were chosen; TREE has the kernel's.
rdma_key() {
	if [ -n "$rdma_dir" ]; then
		set -- "$rdma_dir/include" "$rdma_dir/Module.symvers"
	else
		# A tree that was built elsewhere has its headers in its source. Debian's has them in
		# another package, but a prepared stand-in takes its place.
		set -- "$1/include/rdma" "$1/include/uapi/rdma" "$1/source/include/rdma" \
			"$1/source/include/uapi/rdma" "$1/Module.symvers"
	fi
	find -L "$@" -type f \( -name '*.h' -o -name Module.symvers \) 2>/dev/null | LC_ALL=C sort |
		tr '\n' '\0' | xargs -0 -r cat | sha256sum | cut -c 1-16
}

# --- Is the installed ib_core the one the symbols belong to? ----------------

unpacked() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -dcq "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

# core_exports KO: "symbol checksum" for everything the module KO exports, and
# name spaces; the checksum is - in kernels without CONFIG_MODVERSIONS.
core_exports() {
	objdump -t "$1" | sed -n 's/^\([0-9a-f]*\) .* \(__kcrctab[a-z_]*\)\t.* __crc_\(.*\)$/\2 \1 \3/p' >"$1.crcs"
	: >"$1.values"
	for section in $(cut -d ' ' -f 1 "$1.crcs" | sort -u); do
		objcopy -O binary --only-section="$section" --set-section-flags "$section=alloc" "$1" "$1.bin" &&
			od -An -v -tx4 -w4 "$1.bin" | awk -v s="$section" '{ print s, (NR - 1) * 4, $1 }' >>"$1.values"
	done
	objcopy -O binary --only-section=__ksymtab_strings "$1" "$1.bin" &&
		tr '\0' '\n' <"$1.bin" | sed '/^$/d' | sort -u >"$1.names" &&
		awk '
			function hex(text,  value, i) {
				for (i = 1; i <= length(text); i++)
					value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
				return value
			}
			FILENAME ~ /values$/ { crc[$1, $2] = $3; next }
			FILENAME ~ /crcs$/ { of[$3] = crc[$1, hex($2)]; next }
			{ print $1, ($1 in of) ? of[$1] : "-" }
		' "$1.values" "$1.crcs" "$1.names"
}

# core_difference EXPORTS: says how EXPORTS differs from what rdma_symvers has
# of ib_core; nothing if it does not, and ~ if there are only names to compare.
core_difference() {
	awk -F '[ \t]' -v symvers="$rdma_symvers" '
		FILENAME == symvers {
			if (split($0, field, "\t") < 4 || field[3] !~ /(^|\/)ib_core$/)
				next
			sub(/^0x/, "", field[1])
			want[field[2]] = tolower(field[1])
			space[field[5]]
			next
		}
		{ have[$1] = $2 }
		END {
			for (name in want)
				if (!(name in have))
					print name " is not exported by it"
				else if (want[name] !~ /^0*$/ && have[name] != "-") {
					compared = 1
					if (have[name] != want[name])
						print name " has checksum " have[name] " in it and " want[name] " there"
				}
			for (name in have)
				if (!(name in want) && !(name in space))
					print name " is exported by it and not listed there"
			if (!compared)
				print "~"
		}
	' "$rdma_symvers" "$1" | LC_ALL=C sort | head -n 1
}

rdma_check_core() {
	rdma_installed_core
	listed=$(awk -F '\t' '$3 ~ /(^|\/)ib_core$/ { n++ } END { print n + 0 }' "$rdma_symvers" 2>/dev/null)
	if [ -n "$rdma_dir" ] && [ "${listed:-0}" -eq 0 ]; then
		problem "$rdma_symvers lists no symbol of ib_core, so it is not that of an OFED's modules: name" \
			"other headers with OFED_DIR=<directory>, or say OFED=0"
		return 1
	fi
	if [ -z "$rdma_core" ]; then
		[ -z "$rdma_dir" ] || say "warning: no ib_core is installed for kernel $kdir_release, so it cannot" \
			"be checked that it belongs to these headers"
		return 0
	fi
	# An ib_core that is part of the kernel has no entry of its own.
	[ "${listed:-0}" -gt 0 ] || return 0

	scratch=$(mktemp -d)
	difference=
	if unpacked "$rdma_core" >"$scratch/core" 2>/dev/null && core_exports "$scratch/core" >"$scratch/exports" &&
			[ -s "$scratch/exports" ]; then
		difference=$(core_difference "$scratch/exports")
		rm -rf "$scratch"
	else
		rm -rf "$scratch"
		problem "the installed $rdma_core cannot be read, so it is not known which headers belong to it" \
			"(Debian: apt-get install binutils xz-utils zstd)"
		return 1
	fi
	# Names alone do not tell a kernel's ib_core from that of an OFED; where it lies does.
	if [ "$difference" = "~" ]; then
		difference=
		where="there are no checksums to compare, and it lies where"
		if [ -n "$rdma_in_tree" ]; then
			[ -z "$rdma_dir" ] || difference="$where the kernel's own does"
		else
			[ -n "$rdma_dir" ] || difference="$where that of an OFED does"
		fi
	fi
	[ -n "$difference" ] || return 0
	if [ -n "$rdma_dir" ]; then
		hint="build and install the OFED's modules for this kernel again, name the headers that belong to it with"
		hint="$hint OFED_DIR=<directory>, or remove the OFED's modules and say OFED=0"
	else
		hint="if it is an OFED's, name its headers with OFED_DIR=<directory>; if not, install the headers and"
		hint="$hint modules of one and the same kernel"
	fi
	problem "the installed ib_core, $rdma_core, is not the one that $rdma_symvers belongs to ($difference), and a" \
		"module built with these headers would crash: $hint"
	return 1
}
