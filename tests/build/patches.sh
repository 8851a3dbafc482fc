# SPDX-License-Identifier: GPL-2.0
# patches/: the patch that adds the driver to a kernel tree applies, can be
# configured and builds; those that would spare shims apply and compile. Needs
# REAL_KDIR, and the source package of that kernel.
. ./lib.sh

real_kernel "kernel patches"
export KDIR="$REAL_KDIR"
series=$(echo "$release" | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')
archive=/usr/src/linux-source-$series.tar.xz
if [ ! -r "$archive" ]; then
	skip "kernel patches" "$archive is not there"
	finish
	exit
fi

# The parts of the source that are patched.
linux=$work/linux
mkdir "$linux"
tar -C "$linux" --strip-components=1 -xf "$archive" "linux-source-$series/drivers/infiniband" \
	"linux-source-$series/rust/helpers" "linux-source-$series/rust/bindings" \
	"linux-source-$series/Documentation/infiniband" "linux-source-$series/MAINTAINERS" \
	"linux-source-$series/scripts/checkpatch.pl" "linux-source-$series/scripts/spelling.txt" \
	"linux-source-$series/scripts/const_structs.checkpatch"
dir=drivers/infiniband/ulp/srpt_rust

# tool_options: compiler and friends, as the checks before a build choose them.
tool_options() {
	. "$top/scripts/kdir.sh"
	kdir_check && printf '%s\n' "RUSTC=$RUSTC" "BINDGEN=$BINDGEN" "$kdir_cc"
}
tool_options >"$work/tools" 2>/dev/null
kernel_make() {
	# shellcheck disable=SC2046 # one word per line, and none has spaces
	make -C "$tree" $(cat "$work/tools") KRUSTFLAGS=-Cdebuginfo=0 "$@"
}

# --- The driver ------------------------------------------------------------

# A caller that git knows, and none of this machine's settings.
export HOME="$work" GIT_CONFIG_GLOBAL="$work/gitconfig" GIT_CONFIG_NOSYSTEM=1 GIT_CEILING_DIRECTORIES="$(dirname "$top")"
generate() { "$top/patches/make-driver-patch" "$linux" >"$work/driver.patch"; }
caller() { git -C "$top" config "user.$1" 2>/dev/null || git -C / config --global "user.$1"; }
if [ -z "$(caller name)" ]; then
	expect 1 'git has no name for Signed-off-by' "without a name in git there is no patch" generate
else
	skip "without a name in git there is no patch" "this checkout has one of its own"
fi
git -C / config -f "$work/gitconfig" user.name "A Submitter"
git -C / config -f "$work/gitconfig" user.email submitter@example.org
git -C / config -f "$work/gitconfig" safe.directory '*'
verify "the driver's patch is generated" generate
# The name of a checkout has precedence.
signer="$(caller name) <$(caller email)>"
verify "... signed off by the caller" grep -qxF "Signed-off-by: $signer" "$work/driver.patch"
verify "... as MAINTAINERS has it" grep -qxF "+M:	$signer" "$work/driver.patch"
for file in Documentation/ABI/testing/sysfs-class-infiniband_srpt Documentation/infiniband/srpt_rust.rst; do
	verify "... with $file" grep -qxF "+++ b/$file" "$work/driver.patch"
done
# What tracepoints are written like everywhere, and checkpatch does not know outside of include/trace.
cat >"$work/allowed" <<-ALLOWED
	srpt_trace.h PARENTHESIS_ALIGNMENT
	srpt_trace.h OPEN_ENDED_LINE
ALLOWED
# checkpatch FILE: what it has to say beside that, in "file type" form.
checkpatch() {
	perl "$linux/scripts/checkpatch.pl" --strict --no-tree --terse --showfile --show-types --no-summary "$1" >"$work/said" 2>&1
	sed -n 's|^\(.*/\)*\([^/:]*\):[0-9]*: [A-Z]*:\([A-Z_]*\): .*|\2 \3|p' "$work/said" | sort -u | grep -vxFf "$work/allowed" |
		while read -r name type; do grep -E "/?$name:[0-9]+: [A-Z]*:$type:" "$work/said"; done
}
clean() { [ -z "$(checkpatch "$1")" ] || { checkpatch "$1"; return 1; }; }
verify "... checkpatch --strict has nothing to say but of the form of tracepoints" clean "$work/driver.patch"
verify "... which it does look at" grep -q 'srpt_trace.h:[0-9]*: CHECK:OPEN_ENDED_LINE' "$work/said"
git -C "$work" init -q repo
cp -R "$linux/drivers" "$linux/Documentation" "$linux/MAINTAINERS" "$work/repo/"
git -C "$work/repo" add -A && git -C "$work/repo" commit -q -m base
# am BRANCH PATCH...: the patches, as commits on the base.
am() {
	git -C "$work/repo" checkout -q -b "$1" "$base"
	shift
	git -C "$work/repo" am -q "$@"
}
base=$(git -C "$work/repo" rev-parse HEAD)
verify "... git am takes it" am one "$work/driver.patch"
split() { (cd "$work" && "$top/patches/make-driver-patch" --series series "$linux"); }
verify "it is split into a series" split
verify "... with a patch for each paragraph of patches/series" [ "$(ls "$work/series" | grep -vc '^0000-')" -eq \
	"$(grep -c '^Subject: ' "$top/patches/series")" ]
rm "$work"/series/0000-*
verify "... git am takes it" am several "$work"/series/*.patch
verify "... and makes the same of the tree" git -C "$work/repo" diff --exit-code one several
expect 1 'series is there already' "... not twice" split
verify "... git would apply it" git -C "$linux" apply --check "$work/driver.patch"
verify "... it applies" patch -d "$linux" -p1 -s -i "$work/driver.patch"
expect 1 'is missing: is this the source of a kernel' "a tree that is no kernel's source is refused" \
	"$top/patches/make-driver-patch" "$work"

# What the option can be, with the symbols it depends on in a Kconfig of our own.
kconfig() {
	cat >"$work/Kconfig" <<-KCONFIG
		config MODULES
			bool "modules"
			modules
			default y
		$(for name in RUST INFINIBAND_ADDR_TRANS; do printf 'config %s\n\tbool "x"\n' $name; done)
		$(for name in INFINIBAND TARGET_CORE INFINIBAND_SRPT; do printf 'config %s\n\ttristate "x"\n' $name; done)
		source "$linux/$dir/Kconfig"
	KCONFIG
	printf 'CONFIG_%s\n' MODULES=y RUST=y INFINIBAND=m INFINIBAND_ADDR_TRANS=y TARGET_CORE=m "$@" >"$work/.config"
	(cd "$work" && KCONFIG_CONFIG=.config "$tree/scripts/kconfig/conf" --olddefconfig Kconfig) &&
		cat "$work/.config"
}
if [ -x "$tree/scripts/kconfig/conf" ]; then
	expect 0 '^CONFIG_INFINIBAND_SRPT_RUST=m' "it can be chosen" kconfig INFINIBAND_SRPT_RUST=m
	expect 0 '^CONFIG_INFINIBAND_SRPT_RUST=m' "... as a module, where RDMA is one" kconfig INFINIBAND_SRPT_RUST=y
	expect 0 '^CONFIG_INFINIBAND_SRPT_RUST=y' "... built in, where RDMA and target core are" \
		kconfig INFINIBAND=y TARGET_CORE=y INFINIBAND_SRPT_RUST=y
	expect 0 'CONFIG_INFINIBAND_SRPT=m' "... and not beside the C driver" \
		kconfig INFINIBAND_SRPT_RUST=m INFINIBAND_SRPT=m
	verify "... indeed" sh -c "! grep -q '^CONFIG_INFINIBAND_SRPT_RUST=' '$work/.config'"
else
	skip "configuration" "no scripts/kconfig/conf in $tree"
fi

expect 0 'LD \[M\] .*ib_srpt\.ko' "it builds where it was put" kernel_make M="$linux/$dir" \
	KERNELRELEASE="$(cat "$tree/include/config/kernel.release")" CONFIG_INFINIBAND_SRPT_RUST=m modules
verify "... and is the module" grep -qaF 'description=SCSI RDMA Protocol target driver written in Rust' \
	"$linux/$dir/ib_srpt.ko"
verify "... and nothing without the option" sh -c "rm '$linux/$dir/ib_srpt.ko'; make -C '$tree' \
	$(paste -sd ' ' "$work/tools") M='$linux/$dir' modules && [ ! -e '$linux/$dir/ib_srpt.ko' ]"
# Rust is checked and not translated, which would take half a minute more; objtool would miss its code.
in_c="src/modinfo.o src/params.o src/shims.o src/trace.o src/engine/lio/shims.o"
# shellcheck disable=SC2086 # a list of files
expect 0 'RUSTC +src/srpt\.o' "it compiles as a part of the kernel's image" kernel_make M="$linux/$dir" \
	CONFIG_INFINIBAND_SRPT_RUST=y CONFIG_OBJTOOL= KRUSTFLAGS=-Zno-codegen src/srpt.o $in_c
verify "... where it is no module" sh -c "cd '$linux/$dir' && nm $in_c >'$work/symbols' && ! grep __this_module '$work/symbols'"
verify "... and nothing looks into THIS_MODULE, which is NULL there" sh -c "! grep -rnE 'THIS_MODULE\)? *->' '$linux/$dir/src'"

# --- Those that would spare shims, in their order ---------------------------

for file in "$top"/patches/0*.patch; do
	name=$(basename "$file")
	if [ "$series" != 7.3 ]; then
		skip "$name" "it is for the source of series 7.3, and this is $series"
		continue
	fi
	verify "$name has a subject and a reason" sh -c "grep -q '^Subject: ' '$file' && grep -q '^Saves ib_srpt: ' '$file'"
	verify "... git would apply it" git -C "$linux" apply --check "$file"
	verify "... it applies" patch -d "$linux" -p1 -s -F 0 -i "$file"
done
if [ "$series" = 7.3 ]; then
	mkdir "$work/helpers"
	cp "$linux"/rust/helpers/*.c "$work/helpers/"
	cp -R "$linux/rust/helpers/net" "$work/helpers/"
	# The kernel's Makefile takes every goal that begins with "help" for "help".
	mv "$work/helpers/helpers.c" "$work/helpers/patched.c"
	: >"$work/helpers/Kbuild"
	expect 0 'CC.* patched\.o' "the helpers compile" kernel_make M="$work/helpers" \
		KCFLAGS=-Wno-missing-prototypes patched.o
	for helper in ib_dma_map_single ib_post_send rdma_cap_ib_cm sg_set_page ratelimit_state_init attrib_to_tpg; do
		nm "$work/helpers/patched.o" 2>/dev/null | grep -q " T rust_helper_$helper$" || echo "$helper"
	done >"$work/missing"
	verify "... those of the patches among them" [ ! -s "$work/missing" ]
fi

finish
