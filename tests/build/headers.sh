# SPDX-License-Identifier: GPL-2.0
# Which RDMA headers are chosen, with made-up packages, OFEDs and ib_core
# modules: what the one line says, and what is refused. Builds nothing with
# them; that is headers-build.sh.
. ./lib.sh

PATH=$work/bin:$PATH
export PATH KDIR=$work/k IB_SRPT_SOURCE_DIR=$work/none IB_SRPT_MODULES_DIR=$work/modules \
	IB_SRPT_OFED_ROOTS=$work/src
check=$top/scripts/check-kdir
roots=$work/src/ofa_kernel
here=$roots/$(uname -m)/$RELEASE
modules=$IB_SRPT_MODULES_DIR/$RELEASE
# The same in regular expressions.
release_re=$(echo "$RELEASE" | sed 's/+/\\+/g') here_re=$(echo "$here" | sed 's/+/\\+/g')
modules_re=$(echo "$modules" | sed 's/+/\\+/g')

# packages TOOL NAME:STATE:VERSION...: what dpkg-query or rpm knows.
packages() {
	name=$1
	shift
	{
		echo '#!/bin/sh'
		echo 'for pattern; do :; done; found=1'
		for each; do
			rest=${each#*:}
			answer="${each%%:*} ${rest%%:*} ${rest#*:}"
			[ "$name" != rpm ] || answer=$rest
			echo "case ${each%%:*} in \$pattern) echo '$answer'; found=0 ;; esac"
		done
		echo 'exit $found'
	} >"$work/bin/$name"
	chmod +x "$work/bin/$name"
}

# ofed DIR: the headers of an OFED, as far as this test needs them.
ofed() {
	mkdir -p "$1/include/rdma"
	echo '/* made up */' >"$1/include/rdma/ib_verbs.h"
	printf '0x00000011\tib_register_client\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\t\n' >"$1/Module.symvers"
	printf '0x00000022\tib_ofed_only\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\trdma_core\n' >>"$1/Module.symvers"
}

# core DIR SYMBOL:CHECKSUM...: an installed ib_core in DIR that exports SYMBOLs;
# without checksums where there is none.
core() {
	mkdir -p "$modules/$1"
	folder=$1
	shift
	file=$modules/$folder/ib_core.ko
	: >"$work/core.s"
	for each; do
		symbol=${each%:*} crc=${each#*:}
		printf '.section __ksymtab_strings,"aMS",@progbits,1\n.asciz "%s"\n' "$symbol" >>"$work/core.s"
		[ -z "$crc" ] || printf '.section __kcrctab,"a"\n__crc_%s: .long 0x%s\n' "$symbol" "$crc" >>"$work/core.s"
	done
	as -o "$file" "$work/core.s"
	xz -f "$file"
	echo "$folder/ib_core.ko.xz: kernel/ib_other.ko.xz" >"$modules/modules.dep"
}

fresh() {
	rm -rf "$work/src" "$work/modules"
	tools
	tree "$KDIR"
	packages dpkg-query
	packages rpm
	tool ofed_info ""
}
matching() { core updates/dkms ib_register_client:00000011 ib_ofed_only:00000022; }

fresh
expect 0 "building against the RDMA headers of the kernel \\(7.3.4\\), for kernel 7.3.4\\+test-amd64" \
	"no OFED: the kernel's own headers" "$check"
verify "... said once" [ "$(grep -c 'building against' "$work/out")" -eq 1 ]

fresh; ofed "$here"; matching
packages dpkg-query mlnx-ofed-kernel-dkms:installed:25.07.OFED.25.07.0.9.7.1-1
expect 0 "headers of MLNX_OFED \\(mlnx-ofed-kernel-dkms 25.07.*\\) in $here_re, for kernel $release_re" \
	"an OFED in Debian packages" "$check"
expect 0 "headers of the kernel \\(7.3.4\\)" "... and OFED=0 leaves it alone" \
	env OFED=0 "$check"
ofed "$work/elsewhere/headers"
expect 0 "headers of OFED \\(named with OFED_DIR\\) in $work/elsewhere/headers," "OFED_DIR comes first" \
	env OFED_DIR="$work/elsewhere/headers" "$check"
expect 0 "in $here_re," "OFED_DIR may be the directory above" env OFED_DIR="$roots" "$check"
expect 1 "OFED=0 and OFED_DIR=.* contradict each other" "... not together with OFED=0" \
	env OFED=0 OFED_DIR="$roots" "$check"
expect 1 "no directory $work/nowhere \\(OFED_DIR\\)" "... and it must exist" env OFED_DIR="$work/nowhere" "$check"
mkdir -p "$work/elsewhere/headers/default"
expect 0 "in $work/elsewhere/headers," "... which comes first if it has headers itself" \
	env OFED_DIR="$work/elsewhere/headers" "$check"
printf 'OFED=0\n' >"$work/settings"
expect 0 "headers of the kernel" "a file of settings, for DKMS, may say OFED=0" env IB_SRPT_SETTINGS="$work/settings" "$check"
printf 'OFED_DIR=%s\n' "$work/elsewhere/headers" >"$work/settings"
expect 0 "in $work/elsewhere/headers," "... or OFED_DIR" env IB_SRPT_SETTINGS="$work/settings" "$check"
expect 0 "headers of the kernel" "... and what is said to make counts more" \
	env OFED=0 IB_SRPT_SETTINGS="$work/settings" "$check"
expect 0 "in $here_re," "... and there may be none" env IB_SRPT_SETTINGS="$work/none" "$check"
expect 1 "OFED=yes: only OFED=0 is known" "another OFED= is refused" env OFED=yes "$check"

fresh; ofed "$here"; matching
packages rpm mlnx-ofa_kernel:25.07-1 mlnx-ofa_kernel-devel:25.07-1
expect 0 "headers of MLNX_OFED \\(mlnx-ofa_kernel-devel 25.07-1\\)" "an OFED in RPM packages" "$check"
packages rpm mlnx-ofa_kernel:25.07-1
expect 1 "mlnx-ofa_kernel is installed, and mlnx-ofa_kernel-devel with its headers is not" \
	"modules without headers" "$check"
expect 0 "headers of the kernel" "... OFED=0 gets by" env OFED=0 "$check"
packages rpm mlnx-ofa_kernel-devel:25.07-1
expect 1 "mlnx-ofa_kernel-devel is installed, and mlnx-ofa_kernel with the modules .* is not" \
	"headers without modules" "$check"
packages rpm mlnx-ofa_kernel:25.07-1 mlnx-ofa_kernel-dkms:25.07-1
expect 0 "headers of MLNX_OFED \\(mlnx-ofa_kernel-dkms 25.07-1\\)" "... unless DKMS makes both" "$check"
packages rpm
packages dpkg-query mlnx-ofed-kernel-dkms:triggers-pending:25.07-1
expect 0 "headers of MLNX_OFED \\(mlnx-ofed-kernel-dkms 25.07-1\\)" "a package whose triggers are pending" "$check"
packages dpkg-query mlnx-ofed-kernel-dkms:half-configured:25.07-1
expect 1 "mlnx-ofed-kernel-dkms is half-configured, so its headers cannot be trusted: .*dpkg --configure -a" \
	"a package that is installed by half" "$check"
expect 0 "headers of MLNX_OFED \\(mlnx-ofed-kernel-dkms 25.07-1\\) in $here_re" \
	"... unless it is being installed around a build of DKMS" env IB_SRPT_SETTINGS="$work/none" "$check"
mv "$here/Module.symvers" "$work/away"
expect 1 "are not complete, Module.symvers is missing" "... whose headers have to be complete" \
	env IB_SRPT_SETTINGS="$work/none" "$check"
mv "$work/away" "$here/Module.symvers"
packages dpkg-query mlnx-ofed-kernel-dkms:config-files:25.07-1
core kernel/drivers/infiniband/core ib_register_client:
expect 0 "headers of the kernel" "a package that was removed does not count" "$check"

fresh; matching; mkdir -p "$work/src/compat-rdma"; ofed "$work/src/compat-rdma"
packages rpm compat-rdma:4.17-1 compat-rdma-devel:4.17-1
expect 0 "headers of OFED \\(compat-rdma-devel 4.17-1\\) in $work/src/compat-rdma," "compat-rdma" "$check"

# NVIDIA's packages for DKMS keep the files in another folder, and link to them.
fresh; ofed "$work/src/ofa_kernel-dkms/$(uname -m)/$RELEASE"; matching
packages dpkg-query mlnx-ofed-kernel-dkms:installed:26.04-1
expect 0 "headers of MLNX_OFED .* in $work/src/ofa_kernel-dkms/$(uname -m)/$release_re," \
	"headers of DKMS without the link to them" "$check"
ofed "$roots/default"
expect 0 "in $work/src/ofa_kernel-dkms/" "... before those of no kernel in particular" "$check"
ofed "$here"
expect 0 "in $here_re," "... and not where the link is there" "$check"

# Ubuntu's own packages of it bring no headers, and have their version in their names.
fresh; matching
how="there are no OFED headers for kernel $release_re in $roots: install.md says how to make them"
packages dpkg-query doca-ofed-3.4-dkms:installed:3.4.0+0.8.5.0-0ubuntu1
expect 1 "doca-ofed-3.4-dkms says that there is DOCA-OFED, but $how" "DOCA-OFED of Ubuntu, for DKMS" "$check"
packages dpkg-query doca-ofed-userspace:installed:1 doca-ofed-generic:installed:1 linux-modules-doca-ofed-3.5-generic:installed:1 \
	"linux-main-modules-doca-ofed-3.5-7.3.1+other-amd64:installed:1"
rm -r "$modules"
expect 0 "headers of the kernel" "... its names that say nothing of this kernel" "$check"
packages dpkg-query "linux-main-modules-doca-ofed-3.5-$RELEASE:installed:7.3.0-7.7"
expect 1 "linux-main-modules-doca-ofed-3.5-$release_re says that there is DOCA-OFED, but $how" "... and prebuilt" "$check"
core kernel/doca-ofed-3.5 ib_register_client:00000011 ib_ofed_only:00000022
ofed "$here"
expect 0 "headers of DOCA-OFED \\(linux-main-modules-doca-ofed-3.5-$release_re 7.3.0-7.7\\) in $here_re" \
	"... with headers that were made for it" "$check"
packages dpkg-query
expect 0 "headers of DOCA-OFED \\(by the place of $modules_re/kernel/doca-ofed-3.5/ib_core.ko.xz\\) in $here_re" \
	"... without a package that says so" "$check"
rm -r "$roots"
expect 1 "installed ib_core, $modules_re/kernel/doca-ofed-3.5/ib_core.ko.xz, says that there is DOCA-OFED, but $how" \
	"... and without headers" "$check"
expect 0 "headers of the kernel" "... OFED=0 takes the kernel's" env OFED=0 "$check"

fresh; ofed "$here"; matching
tool ofed_info "MLNX_OFED_LINUX-25.07-0.9.7.1 (OFED-25.07-0.9.7):"
expect 0 "headers of MLNX_OFED \\(MLNX_OFED_LINUX-25.07.*\\) in $here_re" "no packages but ofed_info" "$check"
tool ofed_info "something else"
expect 0 "headers of OFED \\(by the place of $modules_re/updates/dkms/ib_core.ko.xz\\) in $here_re" \
	"... which must look like one; the place of ib_core says as much" "$check"
core kernel/drivers/infiniband/core ib_register_client:
expect 0 "headers of the kernel" "... and says that it is the kernel's own" "$check"

rm -rf "$work/modules" "$roots"
tool ofed_info "MLNX_OFED_LINUX-25.07-0.9.7.1 (OFED-25.07-0.9.7):"
expect 0 "warning: ofed_info says that there is MLNX_OFED_LINUX-25.07.*taken for user space only" \
	"ofed_info, and no kernel headers of any kernel" "$check"
expect 0 "headers of the kernel" "... the kernel's own are taken" "$check"

fresh; matching
packages dpkg-query mlnx-ofed-kernel-dkms:installed:25.07-1
expect 1 "no OFED headers for kernel $release_re in $roots: .*dkms autoinstall -k $release_re" \
	"a package, and no headers for this kernel" "$check"
ofed "$roots/default"
expect 0 "in $roots/default," "default is taken where the kernel has no directory" "$check"
ofed "$here"
expect 0 "in $here_re," "... and not where it has one" "$check"
rm "$here/Module.symvers"
expect 1 "headers in $here_re are not complete, Module.symvers is missing" \
	"headers without Module.symvers are refused, not passed over" "$check"
ofed "$here"; rm "$here/include/rdma/ib_verbs.h"
expect 1 "headers in $here_re are not complete, include/rdma/ib_verbs.h is missing" "... and without ib_verbs.h" "$check"

rm -rf "$roots"; ofed "$roots/x86_64/7.3.1+test-amd64"
ln -s x86_64/7.3.1+test-amd64 "$roots/default"
expect 1 "headers in $roots/default were made for kernel 7.3.1\\+test-amd64, not for $release_re" \
	"a default link that leads to another kernel's headers" "$check"
rm -rf "$roots/x86_64"
expect 1 "default is a link to x86_64/7.3.1\\+test-amd64, which does not exist" "... or nowhere" "$check"
rm -rf "$roots"; ofed "$roots/default"; echo 'KVERSION=7.2.9-other' >"$roots/default/configure.mk.kernel"
expect 1 "headers in $roots/default were made for kernel 7.2.9-other" "... or says so in its configuration" "$check"

fresh; ofed "$here"
packages dpkg-query mlnx-ofed-kernel-dkms:installed:25.07-1
expect 0 "warning: no ib_core is installed for kernel $release_re" "no ib_core to compare with" "$check"
if ! command -v as >/dev/null || ! command -v objcopy >/dev/null || ! command -v xz >/dev/null; then
	skip "comparison with the installed ib_core" "no binutils or no xz here"
	finish
	exit
fi
core updates/dkms ib_register_client: ib_ofed_only: rdma_core:
expect 0 "in $here_re," "an ib_core without checksums" "$check"
core kernel/doca-ofed-3.5 ib_register_client: ib_ofed_only: rdma_core:
expect 0 "in $here_re," "... also below kernel/" "$check"
core kernel/drivers/infiniband/core ib_register_client: ib_ofed_only: rdma_core:
expect 1 "is not the one that .* \\(there are no checksums to compare, and it lies where the kernel's own does\\)" \
	"... has to lie where that of an OFED does" "$check"
core updates/dkms ib_register_client:00000011 ib_ofed_only:00000023
expect 1 "ib_core, $modules_re/updates/dkms/ib_core.ko.xz, is not the one that .* \\(ib_ofed_only has checksum 00000023 in it and 00000022 there\\)" \
	"an ib_core with another checksum" "$check"
core kernel/drivers/infiniband/core ib_register_client:00000011
expect 1 "is not the one that $here_re/Module.symvers belongs to \\(ib_ofed_only is not exported by it\\)" \
	"the kernel's ib_core, and an OFED's headers" "$check"
matching; echo >"$modules/updates/dkms/ib_core.ko.xz"
expect 1 "ib_core.ko.xz cannot be read" "an ib_core that cannot be read" "$check"
printf '0x0\tmlx5_x\tdrivers/net/mlx5_core\tEXPORT_SYMBOL\t\n' >"$here/Module.symvers"
expect 1 "Module.symvers lists no symbol of ib_core" "a Module.symvers without ib_core" "$check"

fresh
printf '0x00000000\tib_register_client\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\t\n' >>"$KDIR/Module.symvers"
core kernel/drivers/infiniband/core ib_register_client:
expect 0 "headers of the kernel" "the kernel's ib_core, and its headers" "$check"
for place in updates/dkms extra/mlnx-ofa_kernel kernel/doca-ofed-3.5; do
	core "$place" ib_register_client:
	expect 1 "is not the one that .* \\(there are no checksums to compare, and it lies where that of an OFED does\\).*name its headers" \
		"... has to lie where the kernel's own does, not in $place" env OFED=0 "$check"
done
matching
expect 1 "ib_core, .*/updates/.* is not the one that $KDIR/Module.symvers .*\\(ib_ofed_only is exported by it and not listed there\\).*name its headers with OFED_DIR" \
	"an OFED's ib_core, and the kernel's headers" env OFED=0 "$check"

finish
