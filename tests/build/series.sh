# SPDX-License-Identifier: GPL-2.0
# Builds for a series that this is not tested with: the lab's kernel under another number,
# that of the next series if it is of the newest supported one, and that of the first
# series that is built for if it is of the oldest. It is built for with a warning, and a
# failure says what follows from it. Needs REAL_KDIR.
. ./lib.sh
. "$top/scripts/kdir.sh"

real_kernel "a build for a series that was not tested"
series=$(series_of "$release")
case $series in
"${SUPPORTED_SERIES##* }") other=${series%.*}.$((${series#*.} + 1)) warned="newer than series $series, the newest" ;;
"${SUPPORTED_SERIES%% *}") other=$OLDEST_SERIES warned="older than series $series, the oldest" ;;
*)
	skip "a build for a series that was not tested" "$series is neither the oldest nor the newest supported one"
	finish
	exit
	;;
esac
made_up=$other.0-made-up

# The tree: links, but for what has the number in it.
cp -as "$tree" "$work/tree"
# renumber FILE SED-SCRIPT: a changed copy in the place of the link.
renumber() {
	rm "$work/tree/$1"
	sed "$2" "$tree/$1" >"$work/tree/$1"
}
renumber Makefile "s/^VERSION = .*/VERSION = ${other%.*}/; s/^PATCHLEVEL = .*/PATCHLEVEL = ${other#*.}/; s/^SUBLEVEL = .*/SUBLEVEL = 0/"
renumber include/config/kernel.release "s/.*/$made_up/"
renumber include/generated/utsrelease.h "s/\".*\"/\"$made_up\"/"
export KDIR="$work/tree" IB_SRPT_MODULES_DIR="$work/modules"

expect 0 "warning: kernel $made_up is $warned this was tested with" \
	"a series that was not tested is warned of" build
ko=$copy/build/$made_up/lio/ib_srpt.ko
verify "... and built for" [ -s "$ko" ]
verify "... with its number" grep -qaF "vermagic=$made_up " "$ko"
verify "... which src/compat.rs is told" grep -qF "srpt_kernel=\"$other\"" "$copy/build/$made_up/lio/src/.srpt.o.cmd"

echo 'const _: Missing = ();' >>"$copy/src/compat.rs"
expect 1 "error: kernel $made_up is $warned .* cannot be built for it: .* the C driver" \
	"where that fails, it says so and what the kernel loads then" build

finish
