# SPDX-License-Identifier: GPL-2.0
# scripts/prepare-kdir with a made-up linux-source package of which "compiling"
# takes no time: what it refuses, and that nothing half-done is ever used.
. ./lib.sh

export PATH=$work/bin:$PATH KDIR=$work/headers IB_SRPT_SOURCE_DIR=$work/src IB_SRPT_CACHE=$work/cache
mkdir "$work/src"
prepare=$top/scripts/prepare-kdir
tools
# No package manager has a say, unless a test wants it to.
printf '#!/bin/sh\nexit 1\n' >"$work/bin/dpkg-query"
chmod +x "$work/bin/dpkg-query"

# What the made-up kernel's Makefile does.
cat >"$work/rules" <<'MAKEFILE'
CONFIG_COMPAT_VDSO := n
CONFIG_OBJTOOL := objtool
CONFIG_DEBUG_INFO_BTF := btf
olddefconfig:
	@[ -z "$$FAKE_NO_PAHOLE" ] || sed -i '/BTF/d' .config
	@[ -z "$$FAKE_OTHER_GCC" ] || sed -i 's/Debian 14.2.0-19/Debian 14.2.0-20/' .config
modules_prepare:
	@echo "  RUSTC L rust/core.o"
	@echo "$(ARCH),$(CROSS_COMPILE),$(CC),$(HOSTCC),$(CROSS_COMPILE_COMPAT),$(CONFIG_COMPAT_VDSO)" >"$(IB_SRPT_CACHE)/told"
	@echo "$(CONFIG_OBJTOOL)$(CONFIG_DEBUG_INFO_BTF)" >"$(IB_SRPT_CACHE)/tools-made"
	@find . -name '*.c' | sort >"$(IB_SRPT_CACHE)/unpacked"
	@[ -z "$$FAKE_FAIL" ] || { echo "fatal: libclang.so not found"; exit 1; }
	@mkdir -p include/config include/generated
	@echo 'EXPORT_SYMBOL_RUST_GPL(_RNvTest);' >rust/exports_core_generated.h
	@echo x >>"$(IB_SRPT_CACHE)/compiled"
	@[ -z "$$FAKE_SLOW" ] || sleep "$$FAKE_SLOW"
modules:
	@mkdir -p $(M); printf 'vermagic=%s SMP\0' "`cat include/config/kernel.release`" >$(M)/srpt_probe.ko
MAKEFILE

# source_package VERSION: make the source package of that upstream version.
source_package() {
	dir=$work/linux-source-7.3
	rm -rf "$dir"
	mkdir -p "$dir/drivers/net" "$dir/rust" "$dir/scripts" "$dir/tools/lib/api/fs" "$dir/tools/objtool"
	: >"$dir/drivers/net/big.c"
	: >"$dir/tools/lib/api/fs/fs.c"
	echo '	... --crate-type rlib -O ...' >"$dir/rust/Makefile"
	echo "$1" | sed 's/^\([0-9]*\)\.\([0-9]*\)\.\([0-9]*\)$/VERSION = \1\nPATCHLEVEL = \2\nSUBLEVEL = \3/' >"$dir/Makefile"
	cat "$work/rules" >>"$dir/Makefile"
	tar -C "$work" -cJf "$work/src/linux-source-7.3.tar.xz" linux-source-7.3
}

fresh() {
	rm -rf "$IB_SRPT_CACHE"
	tree "$KDIR"
	rm "$KDIR"/rust/* "$KDIR/scripts/target.json"
}

# no_tree: nothing in the cache looks like a finished tree.
no_tree() { ! ls -d "$IB_SRPT_CACHE"/kdir/[!.]*/ 2>/dev/null; }
compiled() { [ "$(wc -l <"$IB_SRPT_CACHE/compiled")" -eq "$1" ]; }

source_package 7.3.4
fresh
expect 0 '1 of 1 Rust symbols' "a tree is prepared" "$prepare"
made=$("$prepare" 2>/dev/null)
verify "... its path is printed" [ -d "$made" ]
verify "... it has the distribution's Module.symvers" cmp "$made/Module.symvers" "$KDIR/Module.symvers"
verify "... and release" cmp "$made/include/config/kernel.release" "$KDIR/include/config/kernel.release"
verify "... but not what nobody needs" [ ! -e "$made/drivers" ]
unpacked() { [ "$(cat "$IB_SRPT_CACHE/unpacked")" = ./tools/lib/api/fs/fs.c ]; }
verify "... which was not even unpacked, unlike what has a similar name" unpacked
verify "... macros are not optimised" sh -c "grep -q 'crate-type rlib' '$made/rust/Makefile' && ! grep -q -e -O '$made/rust/Makefile'"
verify "... and is not made twice" compiled 1
echo '# changed' >>"$KDIR/.config"
expect 0 done "another configuration gets another tree" "$prepare"
verify "... indeed" compiled 2

made_tools() { [ "$(cat "$IB_SRPT_CACHE/tools-made")" = "$1" ]; }
verify "tools that the headers lack are made" made_tools objtoolbtf
# bring TEXT: the headers have both tools, with this in each.
bring() {
	fresh
	for tool in objtool/objtool bpf/resolve_btfids/resolve_btfids; do
		mkdir -p "$KDIR/tools/${tool%/*}"
		printf '%s\n' "$1" >"$KDIR/tools/$tool"
		chmod +x "$KDIR/tools/$tool"
	done
}
bring '#!/bin/sh
exit 129'
expect 0 'taking objtool and resolve_btfids from' "those that they have are taken" "$prepare"
verify "... and not made" made_tools ""
made=$("$prepare" 2>/dev/null)
verify "... indeed" cmp "$made/tools/objtool/objtool" "$KDIR/tools/objtool/objtool"
bring '#!/of/another/machine'
expect 0 done "those that do not run here" "$prepare"
verify "... are made" made_tools objtoolbtf

told() { [ "$(cat "$IB_SRPT_CACHE/told")" = "$1" ]; }
fresh; tool uname x86_64; tool aarch64-linux-gnu-gcc-14 14
expect 0 done "a kernel for this machine" "$prepare"
verify "... has one compiler" told ",,x86_64-linux-gnu-gcc-14,x86_64-linux-gnu-gcc-14,,n"
fresh
for file in .config include/config/auto.conf; do
	sed -i 's/X86_64/ARM64/; s/x86_64-linux-gnu/aarch64-linux-gnu/' "$KDIR/$file"
done
expect 0 done "a kernel for another one" "$prepare"
verify "... has two, and none for 32 bits" told \
	arm64,aarch64-linux-gnu-,aarch64-linux-gnu-gcc-14,gcc,arm-linux-gnueabihf-,
tool uname aarch64
expect 0 done "it on a machine of its own" "$prepare"
verify "... has one, and none for 32 bits" told \
	,,aarch64-linux-gnu-gcc-14,aarch64-linux-gnu-gcc-14,arm-linux-gnueabihf-,
rm "$work/bin/uname"

fresh
FAKE_SLOW=30 setsid "$prepare" >/dev/null 2>&1 &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	[ -e "$IB_SRPT_CACHE/compiled" ] && break
	sleep 0.3
done
kill -9 "-$pid"
wait "$pid" 2>/dev/null
verify "killed half-way, it leaves no tree" no_tree
verify "... only something unfinished" ls -d "$IB_SRPT_CACHE"/kdir/.building-*
expect 0 'done: ' "... and the next run starts over" "$prepare"
verify "... from the beginning" compiled 2
verify "... and removes the remains" sh -c "! ls -d $IB_SRPT_CACHE/kdir/.building-*"

made=$("$prepare" 2>/dev/null)
rm "$made/.ib_srpt-complete"
expect 0 'done: ' "a tree without its stamp is not trusted" "$prepare"
verify "... but made again" compiled 3

fresh
FAKE_SLOW=3 "$prepare" >"$work/one" 2>/dev/null &
pid=$!
sleep 1
expect 0 'waiting for another run' "a second run waits for the first" "$prepare"
wait "$pid"
verify "... and takes its tree" compiled 1

fresh
expect 1 'failed \(Debian: apt-get install libclang-dev' "a failure is reported" env FAKE_FAIL=1 "$prepare"
verify "... and leaves no tree" no_tree

fresh
expect 1 'does not survive on this machine .*install pahole' "an option that gets lost" env FAKE_NO_PAHOLE=1 "$prepare"
verify "... leaves no tree" no_tree
expect 0 'done: ' "another version of a tool is no obstacle" env FAKE_OTHER_GCC=1 "$prepare"

fresh
printf '0x0\t_RNvOther\tvmlinux\tEXPORT_SYMBOL_GPL\t\n' >>"$KDIR/Module.symvers"
expect 1 'would not fit kernel 7.3.4\+test-amd64' "an exported Rust symbol that does not match" "$prepare"
expect 1 '1 of 2 Rust symbols' "... the count is shown" "$prepare"
verify "... and no tree is left" no_tree
sed -i /_R/d "$KDIR/Module.symvers"
expect 1 'would not fit' "no exported Rust symbols at all" "$prepare"

source_package 7.3.5
fresh
expect 1 'is the source of 7.3.5, not of 7.3.4\+test-amd64' "the source of another patch level" "$prepare"
source_package 7.3.4

cat >"$work/bin/dpkg-query" <<'DPKG'
#!/bin/sh
case $* in
*linux-source*) echo "installed ${FAKE_SOURCE:-7.3.5-1~bpo13+1}" ;;
*) echo "installed 7.3.4-1~bpo13+1" ;;
esac
DPKG
fresh
expect 1 'apt-get install linux-source-7.3=7.3.4-1~bpo13\+1' "a source package of another version" "$prepare"
fresh
source_package 7.3.4
expect 0 'done: ' "a packaged kernel gets a tree" env FAKE_SOURCE=7.3.4-1~bpo13+1 "$prepare"
source_package 7.3.5
expect 0 . "... and keeps it when the next kernel's source takes the place of its own" "$prepare"
verify "... indeed" compiled 1
source_package 7.3.4
rm "$work/bin/dpkg-query"

fresh
expect 1 'is not writable: .*IB_SRPT_CACHE=' "a cache that cannot be written" env IB_SRPT_CACHE=/proc/self "$prepare"
rm "$work/src/linux-source-7.3.tar.xz"
expect 1 'apt-get install linux-source-7.3' "no source package" "$prepare"

finish
