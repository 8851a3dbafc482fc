# SPDX-License-Identifier: GPL-2.0
# Builds for a series that is newer than those known: the lab's kernel under another
# number. It is built for with a warning, and a failure says what follows from it.
# Needs REAL_KDIR.
. ./lib.sh

real_kernel "a build for a newer series"

# The tree of the next series: links, but for what has the number in it.
series=$(sed -n 's/^SUPPORTED_SERIES="\(.* \)*\(.*\)"$/\2/p' "$top/scripts/kdir.sh")
next=${series%.*}.$((${series#*.} + 1))
later=$next.0-made-up
cp -as "$tree" "$work/tree"
# renumber FILE SED-SCRIPT: a changed copy in the place of the link.
renumber() {
	rm "$work/tree/$1"
	sed "$2" "$tree/$1" >"$work/tree/$1"
}
renumber Makefile "s/^VERSION = .*/VERSION = ${next%.*}/; s/^PATCHLEVEL = .*/PATCHLEVEL = ${next#*.}/; s/^SUBLEVEL = .*/SUBLEVEL = 0/"
renumber include/config/kernel.release "s/.*/$later/"
renumber include/generated/utsrelease.h "s/\".*\"/\"$later\"/"
export KDIR="$work/tree" IB_SRPT_MODULES_DIR="$work/modules"

expect 0 "warning: kernel $later is newer than series $series, the newest this was tested with" \
	"a newer series than those known is warned of" build
ko=$copy/build/$later/lio/ib_srpt.ko
verify "... and built for" [ -s "$ko" ]
verify "... with its number" grep -qaF "vermagic=$later " "$ko"
verify "... which src/compat.rs is told" grep -qF "srpt_kernel=\"$next\"" "$copy/build/$later/lio/src/.srpt.o.cmd"

echo 'const _: Missing = ();' >>"$copy/src/compat.rs"
expect 1 "error: kernel $later is newer than series $series, .* cannot be built for it: .* the C driver" \
	"where that fails, it says so and what the kernel loads then" build

finish
