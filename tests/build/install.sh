# SPDX-License-Identifier: GPL-2.0
# make modules_install and make uninstall, into a scratch directory, with a
# made-up kernel tree and module, and which of two modules depmod takes. The
# checkout's build/ is not touched.
. ./lib.sh

export PATH=$work/bin:$PATH KDIR=$work/k INSTALL_MOD_PATH=$work/root
tools
tree "$KDIR"
copy=$work/checkout
mkdir -p "$copy/build/$RELEASE/lio"
cp -R "$top/Makefile" "$top/scripts" "$top/bindings" "$copy/"
modules=$INSTALL_MOD_PATH/lib/modules/$RELEASE
cat >"$work/bin/depmod" <<DEPMOD
#!/bin/sh
echo "\$*" >>"$work/depmod"
DEPMOD
chmod +x "$work/bin/depmod"

expect 1 'has not been built: run make first' "nothing to install yet" make -s -C "$copy" modules_install
echo module >"$copy/build/$RELEASE/lio/ib_srpt.ko"
mkdir -p "$modules/kernel" "$modules/updates"
echo distribution >"$modules/kernel/ib_srpt.ko"
echo old >"$modules/updates/ib_srpt.ko.xz"
expect 0 'installed .*/updates/ib_srpt.ko' "the module is installed" make -s -C "$copy" modules_install
verify "... in updates/" grep -q '^module$' "$modules/updates/ib_srpt.ko"
verify "... in place of an older one" [ ! -e "$modules/updates/ib_srpt.ko.xz" ]
verify "... and depmod has run for that kernel" grep -qxF -e "-b $INSTALL_MOD_PATH -a $RELEASE" "$work/depmod"
other=$modules/updates/drivers/infiniband/ulp/srpt/ib_srpt.ko.xz
mkdir -p "${other%/*}" "$INSTALL_MOD_PATH/etc/depmod.d"
echo empty >"$other"
expect 1 'drivers/infiniband/ulp/srpt/ib_srpt.ko.xz is there, too, .*override ib_srpt \* updates' \
	"... and may not be the one that is loaded, with that of an OFED beside it" make -s -C "$copy" modules_install
echo 'override ib_srpt * updates' >"$INSTALL_MOD_PATH/etc/depmod.d/ib_srpt.conf"
expect 0 'installed' "... unless it is said that it is" make -s -C "$copy" modules_install
rm -r "$modules/updates/drivers"
: >"$work/depmod"
expect 0 'removed ib_srpt.ko' "the module is uninstalled" make -s -C "$copy" uninstall
verify "... and nothing of it is left" [ ! -e "$modules/updates" ]
verify "... the distribution's is still there" grep -q distribution "$modules/kernel/ib_srpt.ko"
verify "... and depmod has run again" grep -qF "$RELEASE" "$work/depmod"
echo other >"$modules/other.ko"
mkdir -p "$modules/updates"
mv "$modules/other.ko" "$modules/updates/"
verify "uninstalling leaves other modules alone" make -s -C "$copy" uninstall
verify "... indeed" [ -e "$modules/updates/other.ko" ]

# Without INSTALL_MOD_PATH it is the machine's own ib_core that the module meets.
unset INSTALL_MOD_PATH
export IB_SRPT_MODULES_DIR=$work/modules
core=$work/modules/$RELEASE/updates/dkms
mkdir -p "$core"
echo "updates/dkms/ib_core.ko:" >"$work/modules/$RELEASE/modules.dep"
printf '0x00000000\tib_register_client\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\t\n' >"$work/symvers"
printf 'rdma_dir=\nrdma_symvers=%s\n' "$work/symvers" >"$copy/build/$RELEASE/lio/rdma"
if command -v as >/dev/null && command -v objcopy >/dev/null; then
	printf '.section __ksymtab_strings,"aMS",@progbits,1\n.asciz "ib_other"\n' | as -o "$core/ib_core.ko" -
	expect 1 'ib_core.ko, is not the one that .* belongs to' "an ib_core that came after the build is noticed" \
		make -s -C "$copy" modules_install
else
	skip "an ib_core that came after the build" "no binutils here"
fi

# The real depmod, and two modules below updates/: it takes the one that it reads last.
rm "$work/bin/depmod"
PATH=$PATH:/usr/sbin:/sbin
export INSTALL_MOD_PATH=$work/root
taken() { sed -n 's/:.*//p' "$modules/modules.dep"; }
# rivals DIR: ib_srpt in DIR, and another, which wins as long as nothing is said.
rivals() {
	for n in $(seq 20); do
		rm -rf "$modules"
		rival=updates/ofed-$n/ib_srpt.ko
		[ $((n % 2)) -eq 0 ] || mkdir -p "$modules/$1"
		mkdir -p "$modules/${rival%/*}" "$modules/$1"
		cp "$work/empty.ko" "$modules/$1/ib_srpt.ko"
		cp "$work/empty.ko" "$modules/$rival"
		: >"$modules/modules.order"
		: >"$modules/modules.builtin"
		depmod -C "$work/none" -b "$INSTALL_MOD_PATH" "$RELEASE" || return
		[ "$(taken)" != "$rival" ] || return 0
	done
	echo "of 20 none won"
	return 1
}
if command -v as >/dev/null && command -v depmod >/dev/null; then
	as -o "$work/empty.ko" /dev/null
	mkdir "$work/depmod.d" "$work/none"
	verify "an OFED's ib_srpt may win against DKMS's" rivals updates/dkms
	cp "$top/scripts/deb/debian/ib-srpt-dkms.depmod" "$work/depmod.d/ib-srpt-dkms.conf"
	depmod -b "$INSTALL_MOD_PATH" -C "$work/depmod.d" "$RELEASE" 2>"$work/out"
	verify "... not with the package's line" [ "$(taken)" = updates/dkms/ib_srpt.ko ]
	verify "... and against that of make modules_install" rivals updates
	cp "$work/empty.ko" "$copy/build/$RELEASE/lio/ib_srpt.ko"
	expect 0 'installed' "... which is installed with a line for it" make -s -C "$copy" modules_install
	verify "... and wins" [ "$(taken)" = updates/ib_srpt.ko ]
else
	skip "which of two modules depmod takes" "kmod or binutils are not installed"
fi

finish
