# SPDX-License-Identifier: GPL-2.0
# The package: what it contains, and what DKMS calls before and after a build,
# with made-up kernels. Installing it is tests/install.
. ./lib.sh

export PATH=$work/bin:$PATH IB_SRPT_SOURCE_DIR=$work/src IB_SRPT_MODULES=$work/modules
unset SOURCE_DATE_EPOCH
tools
old=7.3.3+test-amd64 new=7.3.4+test-amd64
mkdir -p "$work/src" "$work/modules/$old" "$work/modules/$new" "$work/modules/6.12+test-amd64/build/include"
for release in "$old" "$new"; do
	RELEASE=$release tree "$work/modules/$release/build"
	rm "$work/modules/$release/build/rust/"*
done
: >"$work/src/linux-source-7.3.tar.xz"
cat >"$work/bin/dpkg-query" <<'DPKG'
#!/bin/sh
case $* in
*linux-source*) echo "${FAKE_STATE:-installed} 7.3.4-1" ;;
*doca-ofed*) exit 1 ;;
*linux-headers-7.3.3*) echo "installed 7.3.3-1" ;;
*linux-headers-7.4*) echo "installed 7.4.1-1" ;;
*linux-*) echo "half-configured 7.3.4-1" ;;
*) exit 1 ;;
esac
DPKG
chmod +x "$work/bin/dpkg-query"

# check RELEASE: what DKMS calls before a build.
check() { "$top/scripts/deb/dkms-check" "$1" "$work/modules/$1/build" "$work/cache"; }
status() {
	check "$1" >"$work/said" 2>&1
	echo $?
}

expect 0 'everything is there' "the newest kernel can be built for" check "$new"
verify "an older one without its source is skipped" [ "$(status "$old")" -eq 77 ]
verify "... with the reason" grep -q "skipping kernel $old: .*linux-source-7.3 is version 7.3.4-1, not 7.3.3-1" "$work/said"
kdir=$work/cache/kdir
mkdir -p "$kdir/$old-rustc-1.85.1-abc"
verify "... so it is when its tree was not finished" [ "$(status "$old")" -eq 77 ]
: >"$kdir/$old-rustc-1.85.1-abc/.ib_srpt-complete"
expect 0 'everything is there' "... but not when it has a prepared tree" check "$old"
rm "$work/src/linux-source-7.3.tar.xz"
verify "without any source, the older one is skipped" [ "$(status "$old")" -eq 77 ]
verify "... and the newest is an error" [ "$(status "$new")" -eq 1 ]
verify "... with the command that helps" grep -q 'apt-get install linux-source-7.3=7.3.4-1' "$work/said"

# A series that is newer than those known, which the package does not leave alone.
later=7.4.1+test-amd64
RELEASE=$later tree "$work/modules/$later/build"
expect 0 "warning: kernel 7.4.1.* is newer than series 7.3, the newest this was tested with" \
	"a newer series can be built for, with a warning" check "$later"
rm "$work/modules/$later/build/rust/"*
verify "... and is not skipped when something is missing" [ "$(status "$later")" -eq 1 ]
verify "... but says what" grep -q 'apt-get install linux-source-7.4=7.4.1-1' "$work/said"
rm -r "$work/modules/$later"

# What speaks up at every boot of a kernel whose ib_srpt is not ours.
sys=$work/sys
cat >"$work/bin/modinfo" <<-MODINFO
	#!/bin/sh
	case \$2 in version) cat "$work/version" ;; parm) cat "$work/parm" ;; *) cat "$work/file" ;; esac
MODINFO
echo /lib/modules/x/ib_srpt.ko.xz >"$work/file"
chmod +x "$work/bin/modinfo"
which_one() { IB_SRPT_SYS=$sys sh "$top/scripts/srpt-check"; }
echo 9.8.7 >"$work/version"
echo 'max_channels_per_nexus:Most channels (uint)' >"$work/parm"
expect 0 'ib_srpt 9.8.7 is what .* would load' "the module that would be loaded is ours" which_one
verify "... by a parameter that it has" grep -q '^module_param_named(max_channels_per_nexus,' "$top/src/params.c"
: >"$work/parm"
echo 0.1 >"$work/version"
expect 1 'would load another module .*, version 0.1, .*ib_srpt.ko.xz' "... or the empty one of an OFED" which_one
: >"$work/version"
expect 1 'would load the C driver .*ib_srpt.ko.xz.*dkms status' "... or the C driver" which_one
rm "$work/file"
expect 1 'has no ib_srpt, not the module' "... or there is none" which_one
mkdir -p "$sys/module/ib_srpt/parameters"
echo 9.8.7 >"$work/version"
expect 1 'has loaded the C driver' "... which is loaded, whatever is installed" which_one
echo 0.1 >"$sys/module/ib_srpt/version"
expect 1 'has loaded another module .*, version 0.1' "... or the empty one is" which_one
echo 9.8.6 >"$sys/module/ib_srpt/version"
echo 256 >"$sys/module/ib_srpt/parameters/max_channels_per_nexus"
: >"$work/version"
expect 0 'ib_srpt 9.8.6 is what .* has loaded' "... or ours is" which_one
rm -r "$sys" "$work/bin/modinfo"

# prune: what DKMS calls after an installation.
rm -rf "$kdir"
mkdir -p "$kdir/$old-rustc-1.85.1-a" "$kdir/$new-rustc-1.85.1-b" "$kdir/$new-rustc-1.85.1-c" \
	"$kdir/7.2.1+test-amd64-rustc-1.85.1-d" "$kdir/.building-e"
touch -d '1 hour ago' "$kdir/$new-rustc-1.85.1-b"
verify "pruning trees" "$top/scripts/deb/dkms-prune" "$work/cache"
verify "... keeps the newest of each kernel" [ -d "$kdir/$old-rustc-1.85.1-a" -a -d "$kdir/$new-rustc-1.85.1-c" ]
verify "... not an older one" [ ! -e "$kdir/$new-rustc-1.85.1-b" ]
verify "... nor that of a kernel that is gone" [ ! -e "$kdir/7.2.1+test-amd64-rustc-1.85.1-d" ]
verify "... nor does it touch what is being made" [ -d "$kdir/.building-e" ]
rm "$work/bin/dpkg-query"

if ! command -v dh_dkms >/dev/null; then
	skip "the package" "debhelper and dh-dkms are not installed"
	finish
	exit
fi
copy=$work/checkout
mkdir "$copy"
# unpack DIR: the source without git.
unpack() { (cd "$top" && cp -R CHANGELOG.md Kbuild LICENSE Makefile README.md bindings docs scripts src "$1/"); }
unpack "$copy"
: >"$copy/src/left_generated.rs"
expect 0 'built build/deb/ib-srpt-dkms_.*_all.deb' "the package is built" "$copy/scripts/deb/build"
deb=$(ls "$copy"/build/deb/*.deb)
version=$(sed -n 's/^#define SRPT_VERSION "\(.*\)"$/\1/p' "$top/src/modinfo.c")
verify "... with the module's version" [ "$(dpkg-deb -f "$deb" Version)" = "$version-1" ]
mkdir "$work/x"
dpkg-deb -x "$deb" "$work/x"
source=$work/x/usr/src/ib_srpt-$version
verify "... and source" cmp "$top/src/srpt.rs" "$source/src/srpt.rs"
verify "... nothing generated" [ ! -e "$source/src/left_generated.rs" ]
verify "... and the directories where LIO keeps reservations" [ -d "$work/x/var/target/pr" -a -d "$work/x/etc/rtslib-fb-target/pr" ]
verify "... what restores the targets of an HCA that appears" [ -x "$work/x/usr/share/ib-srpt/srpt-restore" ]
check=$(find "$work/x" -name 'ib-srpt-check.service')
verify "... what says at boot which driver there is" grep -qx 'ExecStart=/usr/share/ib-srpt/srpt-check' "${check:-/dev/null}"
verify "... and can be executed" [ -x "$work/x/usr/share/ib-srpt/srpt-check" ]
dpkg-deb -e "$deb" "$work/control"
verify "... and is enabled" grep -q 'enable .*ib-srpt-check.service' "$work/control/postinst"
verify "... and what puts DKMS's module before that of an OFED" grep -qx 'override ib_srpt \* updates/dkms' \
	"$work/x/usr/lib/depmod.d/ib-srpt-dkms.conf"
rules=$(find "$work/x" -name '*ib-srpt*.rules')
unit=$(find "$work/x" -name 'ib-srpt-restore@.service')
verify "... which udev has started" grep -q 'SUBSYSTEM=="infiniband".*ib-srpt-restore@\$kernel.service' "${rules:-/dev/null}"
verify "... by its unit" grep -qx 'ExecStart=/usr/share/ib-srpt/srpt-restore' "${unit:-/dev/null}"
verify "... DKMS is told of this version" grep -qx "PACKAGE_VERSION=\"$version\"" "$source/dkms.conf"
pattern=$(sed -n 's/^BUILD_EXCLUSIVE_KERNEL="\(.*\)"/\1/p' "$source/dkms.conf")
# depends DIR: what dkms.conf makes of a /var/lib/dkms that is DIR.
depends() {
	sed "s|/var/lib/dkms|$1|g; s|/etc/default/|$work/|" "$source/dkms.conf" >"$work/dkms.conf"
	bash -c 'kernelver=7.3.4 kernel_source_dir=/k; . "$1"; echo "${BUILD_DEPENDS[*]} $BUILD_DEPENDS_REBUILD"' \
		bash "$work/dkms.conf"
}
mkdir -p "$work/dkms/mlnx-ofed-kernel"
verify "... and nothing has to be there before it" [ "$(depends "$work/none")" = " " ]
verify "... but an OFED that DKMS builds, with which it is built again" \
	[ "$(depends "$work/dkms")" = "mlnx-ofed-kernel yes" ]
mkdir -p "$work/ubuntu/doca-ofed-3.5-dkms"
verify "... also one that has its version in its name" \
	[ "$(depends "$work/ubuntu")" = "doca-ofed-3.5-dkms yes" ]
echo 'OFED_DIR=/elsewhere' >"$work/ib-srpt-dkms"
verify "... whatever the directory of its headers" [ "$(depends "$work/dkms")" = "mlnx-ofed-kernel yes" ]
echo 'OFED=0' >"$work/ib-srpt-dkms"
verify "... and nothing where OFED=0 is set" [ "$(depends "$work/dkms")" = " " ]
verify "... a file of settings is in it, which sets nothing" \
	[ "$(grep -c '^[^#]' "$work/x/etc/default/ib-srpt-dkms")" -eq 0 -a -s "$work/x/etc/default/ib-srpt-dkms" ]
verify "... check and build read it" [ "$(grep -c '[ =]$settings"' "$source/dkms.conf")" -eq 2 ]
for release in 7.2.12+deb13-amd64 7.3.4+deb13-amd64 7.4.0-amd64 7.4-rc1-amd64 7.10.1-amd64 8.0.1-amd64 10.0-amd64; do
	verify "... and of kernel $release, known or not" sh -c "echo $release | grep -qE '$pattern'"
done
for release in 6.12.1-amd64 6.20.1-amd64 7.0.3-amd64 7.1.12-amd64 7.1-amd64; do
	verify "... not of $release" sh -c "! echo $release | grep -qE '$pattern'"
done
for name in etc/modprobe.d/ib-srpt-dkms.conf usr/share/man/man4/ib_srpt.4.gz \
		usr/share/doc/ib-srpt-dkms/admin.md.gz usr/share/doc/ib-srpt-dkms/migration.md.gz \
		usr/share/doc/ib-srpt-dkms/security.md.gz \
		usr/share/doc/ib-srpt-dkms/examples/export-ramdisk usr/share/doc/ib-srpt-dkms/copyright; do
	verify "... $name is in it" [ -s "$work/x/$name" ]
done
verify "... srpt-top is in it, with its man page" \
	[ -x "$work/x/usr/bin/srpt-top" -a -s "$work/x/usr/share/man/man1/srpt-top.1.gz" ]
verify "... and trace-timeline" [ -x "$work/x/usr/share/ib-srpt/trace-timeline" ]
verify "... not where the module is built" [ ! -e "$source/scripts/srpt-top" ]
expect 0 '^usage: srpt-top' "... and it runs" "$work/x/usr/bin/srpt-top" --help
expect 1 'no ports: .*Is the module loaded' "... and looks for ports" "$work/x/usr/bin/srpt-top" --once --root "$work"
verify "... it leaves nothing beside it" [ ! -e "$work/x/usr/share/ib-srpt/top/__pycache__" ]
verify "... every option is in its man page, and no other" sh -c '
	"$1/usr/bin/srpt-top" --help | grep -oE -- "--[a-z-]+" | sort -u >"$1/help"
	zcat "$1/usr/share/man/man1/srpt-top.1.gz" | sed "s/\\\\-/-/g" | grep -oE -- "--[a-z-]+" | sort -u >"$1/man"
	cmp "$1/help" "$1/man"' sh "$work/x"
# nothing COMMAND...: it has nothing to say.
nothing() { "$@" >"$work/said" 2>&1 && [ ! -s "$work/said" ] || { cat "$work/said"; return 1; }; }
other=$work/elsewhere
mkdir "$other"
(umask 077; unpack "$other")
expect 0 built "built elsewhere, from files of other modes" sh -c "umask 077; sleep 1; TZ=Asia/Tokyo LC_ALL=C '$other/scripts/deb/build'"
verify "... it is the same, byte by byte" cmp "$deb" "$other/build/deb/$(basename "$deb")"

# The source package.
saved=$work/$(basename "$deb")
cp "$deb" "$saved"
expect 0 "built build/deb/ib-srpt_$version-1.dsc" "a source package is built" "$copy/scripts/deb/build" source
dsc=$copy/build/deb/ib-srpt_$version-1.dsc
for name in "$version.orig.tar.xz" "$version-1.debian.tar.xz" "$version-1_source.changes"; do
	verify "... with ib-srpt_$name" [ -s "$copy/build/deb/ib-srpt_$name" ]
done
expect 0 built "built elsewhere, from files of other modes" \
	sh -c "umask 077; sleep 1; TZ=Asia/Tokyo LC_ALL=C '$other/scripts/deb/build' source"
for name in "$version.orig.tar.xz" "$version-1.debian.tar.xz" "$version-1.dsc"; do
	verify "... ib-srpt_$name is the same, byte by byte" cmp "$copy/build/deb/ib-srpt_$name" "$other/build/deb/ib-srpt_$name"
done
# rebuild: the package, of the source package alone.
rebuild() {
	dpkg-source -x "$dsc" "$work/again/ib-srpt" && cd "$work/again/ib-srpt" &&
		DEB_BUILD_OPTIONS=terse dpkg-buildpackage -d -b -us -uc
}
mkdir "$work/again"
verify "... the package can be built of it" rebuild
verify "... the same, byte by byte" cmp "$saved" "$work/again/$(basename "$deb")"
verify "... it has the tests that autopkgtest runs, and they name what exists" sh -c '
	cd "$1" && grep -q "^Testsuite: autopkgtest$" "$2" || { echo "no Testsuite in $2"; exit 1; }
	tests=$(sed -n "s/^Tests: //p" debian/tests/control)
	[ -n "$tests" ] && for test in $tests; do
		[ -x "debian/tests/$test" ] && sh -n "debian/tests/$test" || { echo "$test"; exit 1; }
	done' sh "$work/again/ib-srpt" "$dsc"
# A file that uscan, of devscripts, would have nothing to do with: no address is known.
verify "... without an address debian/watch looks nowhere" [ "$(grep -vc '^#' "$work/again/ib-srpt/debian/watch")" -eq 1 ]
expect 0 built "with an address, said to make" env MAKEFLAGS=' -- UPSTREAM=https://example.org/srpt/' \
	UPSTREAM=https://example.org/srpt/ "$copy/scripts/deb/build" source
verify "... debian/watch looks there, for archives that have the name of ours" sh -c '
	pattern=$(sed -n "s|^https://example.org/srpt/ ||p" "$1/watch" | sed "s/@ANY_VERSION@/([0-9.]+)/")
	[ -n "$pattern" ] && echo "$2" | grep -qxE "$pattern"' \
	sh "$copy/build/deb/ib-srpt-$version/debian" "ib-srpt_$version.orig.tar.xz"
expect 1 "'both' is neither source nor nothing" "another kind is refused" "$copy/scripts/deb/build" both
if command -v lintian >/dev/null; then
	verify "lintian finds nothing in the package" nothing lintian --allow-root --display-info "$saved"
	verify "... nor in the source package" nothing lintian --allow-root --display-info "$copy/build/deb/ib-srpt_$version-1_source.changes"
else
	skip "lintian" "it is not installed"
fi
if command -v mandoc >/dev/null; then
	for page in ib_srpt.4 srpt-top.1; do
		verify "... nor mandoc in $page" nothing mandoc -T lint "$top/scripts/deb/debian/$page"
	done
else
	skip "mandoc" "it is not installed"
fi
sed -i 's/^## .*/## '"$version"' (unreleased)/' "$copy/CHANGELOG.md"
expect 1 'CHANGELOG.md has no date' "a version without a date is refused" "$copy/scripts/deb/build"
sed -i 's/^## .*/## 99.9 (2026-01-01)/' "$copy/CHANGELOG.md"
expect 1 "CHANGELOG.md says nothing about version '$version'" "a version without changes is refused" "$copy/scripts/deb/build"

finish
