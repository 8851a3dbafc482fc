# SPDX-License-Identifier: GPL-2.0
# Builds against RDMA headers that are not the kernel's: those of the kernel,
# copied and changed here. Whatever changes must arrive in bindings, C files and
# probes, or be refused with the right sentence. Needs REAL_KDIR.
. ./lib.sh

if [ ! -e "$REAL_KDIR/Makefile" ] || ! KDIR=$REAL_KDIR "$top/scripts/check-kdir" >"$work/out" 2>&1; then
	skip "builds against other headers" "no kernel here to build for: $(tail -n 1 "$work/out" 2>/dev/null)"
	finish
	exit
fi
export KDIR="$REAL_KDIR" IB_SRPT_OFED_ROOTS="$work/src"
tree=$(make -s -C "$top" prepare-kdir 2>/dev/null)
release=$(cat "$tree/include/config/kernel.release")

# The kernel's ib_core, installed where an OFED installs its own.
real=$(ls "/lib/modules/$release/kernel/drivers/infiniband/core/ib_core.ko"* 2>/dev/null)
export IB_SRPT_MODULES_DIR="$work/modules"
mkdir -p "$work/modules/$release/updates/dkms"
if [ -n "$real" ]; then
	cp "$real" "$work/modules/$release/updates/dkms/"
	echo "updates/dkms/${real##*/}:" >"$work/modules/$release/modules.dep"
fi

# The checkout's build/ is not touched.
copy=$work/checkout
mkdir -p "$copy"
cp -R "$top/Makefile" "$top/Kbuild" "$top/scripts" "$top/bindings" "$top/src" "$copy/"
built=$copy/build/$release/lio/src

# ofed DIR: the kernel's own headers and symbols, as an OFED would bring them.
ofed() {
	rm -rf "$1"
	mkdir -p "$1/include/uapi"
	cp -R "$tree/include/rdma" "$1/include/"
	cp -R "$tree/include/uapi/rdma" "$1/include/uapi/"
	awk -F '\t' '$3 ~ /^drivers\/infiniband\/core\//' "$tree/Module.symvers" >"$1/Module.symvers"
}

# change DIR FILE SED-SCRIPT: an edit that leaves the file older than any build,
# as packages do.
change() {
	cp "$1/include/rdma/$2" "$work/before"
	sed -i "$3" "$1/include/rdma/$2"
	touch -d 2001-01-01 "$1/include/rdma/$2"
	! cmp -s "$work/before" "$1/include/rdma/$2" || echo "change: $3 changed nothing in $2"
}

# Debugging information takes a quarter of the time and is not looked at.
build() { make -C "$copy" -j2 KRUSTFLAGS=-Cdebuginfo=0; }
# reads DIR FILE...: the generated FILEs depend on the headers in DIR, and not on
# the kernel's.
reads() {
	dir=$1
	shift
	for file; do
		grep -qF " $dir/include/rdma/ib_verbs.h" "$built/.$file.cmd" || { echo "$file: not from $dir"; return 1; }
		! grep -qF " $tree/include/rdma/" "$built/.$file.cmd" || { echo "$file: also from $tree"; return 1; }
	done
}
size() { sed -n 's/.*"sizeof(struct ib_device)", \([0-9]*\),.*/\1/p' "$built/layout_generated.rs"; }

here=$work/src/ofa_kernel/$(uname -m)/$release
ofed "$here"
tool ofed_info "MLNX_OFED_LINUX-99.01-0.0.1:"
PATH=$work/bin:$PATH
# What must not be taken lies beside it.
mkdir -p "$work/src/ofa_kernel/default"
expect 0 "headers of MLNX_OFED \\(MLNX_OFED_LINUX-99.01.*\\) in $(echo "$here" | sed 's/+/\\+/g'), for kernel" \
	"the module is built against the headers of an OFED" build
verify "... which bindgen, C files and probes read" reads "$here" bindings_generated.rs shims.o \
	probes_generated.h layout_generated.s
verify "... and its symbols are those of the OFED" grep -qF -e "-i $here/Module.symvers" \
	"$copy/build/$release/lio/.Module.symvers.cmd"
size=$(size)
expect 0 'built build/' "nothing is made again without a change" build
verify "... indeed" sh -c "! grep -E ' (PROBE|BINDGEN|RUSTC|CC) ' '$work/out'"

moved=$work/other/place
ofed "$moved"
change "$moved" ib_verbs.h 's/^struct ib_device {$/&\n\tu64 made_up[4];/'
export OFED_DIR="$moved"
expect 0 "in $moved, for kernel" "other headers in another place, struct ib_device longer by 32 bytes" build
verify "... are what everything reads then" reads "$moved" bindings_generated.rs shims.o probes_generated.h
verify "... and Rust knows that it is longer" [ "$(size)" -eq $((size + 32)) ]

# A function of another name, too: only the OFED's Module.symvers has it.
change "$moved" ib_cm.h 's/^int ib_cm_listen(.*/int ib_cm_listen_2(struct ib_cm_id *id, __be64 service_id, __be64 mask);\n#define ib_cm_listen ib_cm_listen_2/'
printf '0x00000000\tib_cm_listen_2\tdrivers/infiniband/core/ib_cm\tEXPORT_SYMBOL\t\n' >>"$moved/Module.symvers"
expect 0 'PROBE .*probes_generated.h' "a known other form of a function, in the same place" build
verify "... is found by its probe" grep -qx '#define SRPT_CM_LISTEN_HAS_MASK 1' "$built/probes_generated.h"
verify "... and called" sh -c "nm '$built/shims.o' | grep -q 'U ib_cm_listen_2'"

change "$moved" ib_cache.h 's/^int rdma_query_gid(struct ib_device \*device,/& void *extra,/'
expect 1 "headers of $moved, these functions have a form that this module does not know .*: rdma_query_gid\\. .*OFED=0" \
	"a form that is not known is refused" build
ofed "$moved"
change "$moved" ib_cm.h 's/^int ib_cm_listen(.*/int ib_cm_hear(struct ib_cm_id *id);/'
expect 1 "headers of $moved have no ib_cm_listen\\(\\), or one that is unlike every form" \
	"a function that is not there is refused" build
change "$moved" ib_verbs.h 's/^struct ib_device {$/#error made up\n&/'
expect 1 "headers of $moved do not compile for this kernel" "headers that do not compile are refused" build
verify "... and none of their probes is kept" [ ! -e "$built/probes_generated.h" ]
rm "$moved/Module.symvers"
expect 1 "headers in $moved are not complete, Module.symvers is missing" "headers without symbols are refused" build

ofed "$moved"
sed -i 's/\tib_register_client\t/\tib_register_client_2\t/' "$moved/Module.symvers"
if [ -n "$real" ]; then
	expect 1 "is not the one that $moved/Module.symvers belongs to \\(ib_register_client" \
		"symbols of another ib_core than the installed one are refused" build
	ofed "$moved"
	if ! grep -q '^CONFIG_MODVERSIONS=' "$tree/include/config/auto.conf"; then
		expect 1 'no checksums to compare, and it lies where the kernel.s own does' \
			"an OFED's headers and the kernel's ib_core are refused" env -u IB_SRPT_MODULES_DIR make -C "$copy"
	fi
else
	skip "symbols of another ib_core than the installed one" "no ib_core is installed here"
fi

finish
