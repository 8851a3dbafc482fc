# SPDX-License-Identifier: GPL-2.0
# Builds against RDMA headers that are not the kernel's: those of the kernel,
# copied and changed here. Whatever changes must arrive in bindings, C files and
# probes, or be refused with the right sentence. Needs REAL_KDIR.
. ./lib.sh

real_kernel "builds against other headers"
export KDIR="$REAL_KDIR" IB_SRPT_OFED_ROOTS="$work/src"

# The kernel's ib_core, installed where an OFED installs its own.
real=$(ls "/lib/modules/$release/kernel/drivers/infiniband/core/ib_core.ko"* 2>/dev/null)
export IB_SRPT_MODULES_DIR="$work/modules"
mkdir -p "$work/modules/$release/updates/dkms"
if [ -n "$real" ]; then
	cp "$real" "$work/modules/$release/updates/dkms/"
	echo "updates/dkms/${real##*/}:" >"$work/modules/$release/modules.dep"
fi

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

# Structures that the module fills in, each with a member that it does not use ("-": there is
# none) and one that it does.
filled='
ib_client get_nl_info remove
ib_cm_rep_param failover_accepted qp_num
ib_cqe - done
ib_event_handler list device
ib_mad_reg_req oui mgmt_class
ib_port_modify init_type set_port_cap_mask
ib_qp_attr rate_limit qp_state
ib_qp_init_attr rwq_ind_tbl qp_context
ib_rdma_wr remote_addr wr
ib_recv_wr wr_id num_sge
ib_send_wr invalidate_rkey opcode
ib_sge - length
ib_srq_attr srq_limit max_wr
ib_srq_init_attr ext srq_context
ib_wc vendor_err status
rdma_conn_param qkey private_data
'
echo "$filled" | sed -n 's/^\([a-z_]*\) .*/\1/p' >"$work/names"

# in_source: the same, as the source says it: of what is filled in, what RDMA headers declare.
in_source() {
	grep -rhE 'bindings::[a-z0-9_]+ (\{|= pin_init::zeroed\(\))' "$copy/src" | grep -vE '(->|[=!]=).*bindings::' |
		sed -E 's/.*bindings::([a-z0-9_]+) .*/\1/' | sort -u | while read -r name; do
			! grep -rqx "struct $name {" "$tree/include/rdma" || echo "$name"
		done
}
in_source >"$work/in-source"
verify "the structures that the module fills in are those listed here" diff "$work/in-source" "$work/names"

# all_changed DIR: in each of them the unused member has another name, the used one is the last
# but one, and there is a pointer more at the beginning and a number at the end.
all_changed() {
	echo "$filled" | while read -r name unused used; do
		[ -n "$name" ] || continue
		header=$(cd "$1/include/rdma" && grep -lx "struct $name {" ./*.h)
		[ "$unused" = - ] || change "$1" "$header" "/^struct $name {\$/,/^};/s/\\b$unused\\b/&_renamed/"
		change "$1" "$header" "/^struct $name {\$/,/^};/{
			/\\b$used\\b.*;\$/{h;d}
			s/^struct $name {\$/&\n\tvoid *made_up_first;/
			/^};/{x;p;s/.*/\tu64 made_up_last;/p;x}
		}"
	done
}
# sizes: each of them and its size, in the order of the list.
sizes() {
	while read -r name; do
		sed -n "s/.*\"sizeof(struct $name)\", \([0-9]*\),.*/$name \1/p" "$built/layout_generated.rs"
	done <"$work/names"
}
# longer: is each of them longer, by two members at least, than it was in $work/sizes?
longer() {
	sizes | paste -d ' ' "$work/names" "$work/sizes" - |
		awk '{ print } $1 != $2 || $1 != $4 || $5 < $3 + 16 { wrong = 1 } END { exit wrong }'
}
sizes >"$work/sizes"
moved=$work/other/place
ofed "$moved"
{
	change "$moved" ib_verbs.h 's/^struct ib_device {$/&\n\tu64 made_up[4];/'
	all_changed "$moved"
	# A function of another name, too: only the OFED's Module.symvers has it.
	change "$moved" ib_cm.h 's/^int ib_cm_listen(.*/int ib_cm_listen_2(struct ib_cm_id *id, __be64 service_id, __be64 mask);\n#define ib_cm_listen ib_cm_listen_2/'
	printf '0x00000000\tib_cm_listen_2\tdrivers/infiniband/core/ib_cm\tEXPORT_SYMBOL\t\n' >>"$moved/Module.symvers"
} >"$work/unchanged"
verify "each of them can be changed" diff "$work/unchanged" /dev/null
cp "$copy/src/bindings.rs" "$work/bindings.rs"
while read -r name; do
	echo "const _: () = {"
	echo "    let made: $name = pin_init::zeroed();"
	echo "    assert!(made.made_up_first.is_null() && made.made_up_last == 0);"
	echo "};"
done <"$work/names" >>"$copy/src/bindings.rs"
export OFED_DIR="$moved"
expect 0 "in $moved, for kernel" \
	"headers in another place: struct ib_device longer by 32 bytes; in each of those members more, moved ones, and unused ones of another name" \
	build
cp "$work/bindings.rs" "$copy/src/"
verify "... they are what everything reads then" reads "$moved" bindings_generated.rs shims.o probes_generated.h
verify "... Rust knows that struct ib_device is longer" [ "$(size)" -eq $((size + 32)) ]
verify "... the layout of each was compared, and it is longer by both" longer
verify "... a known other form of a function is found by its probe" grep -qx '#define SRPT_CM_LISTEN_HAS_MASK 1' \
	"$built/probes_generated.h"
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
