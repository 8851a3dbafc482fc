# SPDX-License-Identifier: GPL-2.0
#
# The lab's command line: argument parsing, exit statuses, and the small
# commands. `lab --help` describes all of it.
#
# Not here: the work itself; every command calls one of the other files.

import argparse
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from pathlib import Path

from . import (agent, arm64, chosen, console, demo, enter, env, hcas, python,
               root, sanitized)
from .channel import GuestDied
from .guest import Guest
from .pair import Pair

DESCRIPTION = """\
The lab makes a Debian root file system in a cache outside the checkout, runs
builds in it, and boots virtual machines from it with Debian's own kernel.
Everything it downloads stays in the cache; a second run needs no network."""

EPILOG = """\
exit status: that of the command or script; 70 if a guest's kernel complained,
             71 if a guest died, 124 after a timeout, 1 for other errors
environment:
  IB_SRPT_CACHE  the cache (default /var/cache/ib_srpt)
  KSERIES        kernel series, for example 7.2 (default: 7.3, else 7.2)
  KERNEL         stock (default), sanitized, arm64 or arm64-16k: the kernel of
                 the guests, and the one that modules are built for
  TRANSPORT      rxe (default), siw or ib: the HCA of the guests, RoCE, iWARP
                 or InfiniBand
  IB_CORE        parameters of ib_core in the guests, such as force_mr=1
  PEER_KERNEL    the same for the machines that guest tests use as initiators
  LAB_PACE       factor for time limits in guests (default: by KERNEL)
  LAB_ACCEL=kvm  use KVM instead of emulation
  LAB_QEMU       a QEMU program of your own (8.1 or newer for two CPUs)
  LAB_KERNEL     a directory with a kernel of your own: vmlinuz (or bzImage)
                 and lib/modules/<release>
  LAB_OUT        where consoles are saved (default build/lab in the checkout)
  IB_SRPT_MIRROR the Debian mirror (default: the one this machine uses)
  IB_SRPT_MODULE the built module for `lab shell`
"""

# Options of pytest with which it runs nothing.
ASKS = {"--collect-only", "--co", "--help", "-h", "--version", "-V", "--markers",
        "--fixtures"}

EXIT_CONSOLE, EXIT_DIED, EXIT_TIMEOUT = 70, 71, 124


def arguments():
    top = argparse.ArgumentParser(
        prog="lab", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name, text):
        return sub.add_parser(name, help=text, description=text)

    command("root", "make the root file system if needed; print its path")
    p = command("kernel", "print the release of the selected kernel")
    p.add_argument("--series", action="store_true",
                   help="print the series instead, for example 7.3")
    p.add_argument("--kdir", action="store_true",
                   help="print the tree that modules are built against")
    p = command("exec", "run a command in the root, as a build does; the "
                "checkout and the cache are at their usual paths")
    p.add_argument("-C", metavar="DIR", dest="cwd", help="start in DIR")
    p.add_argument("-e", metavar="NAME=VALUE", dest="environ", default=[],
                   action="append", help="set a variable")
    p.add_argument("-b", metavar="DIR", dest="binds", default=[],
                   action="append", help="make another directory visible")
    p.add_argument("cmd", nargs=argparse.REMAINDER, metavar="-- CMD ...")

    p = command("pytest", "run tests, all or some; the arguments are pytest's")
    p.add_argument("arguments", nargs=argparse.REMAINDER)
    p = command("tests-python", "run a program with the Python of the tests")
    p.add_argument("arguments", nargs=argparse.REMAINDER)

    def guest_options(p, timeout):
        p.add_argument("--module", metavar="KO", action="append", default=[],
                       help="install and load this built module")
        p.add_argument("--stock", metavar="NAME", action="append", default=[],
                       help="load the distribution's module NAME")
        p.add_argument("--smp", type=int, help="virtual CPUs")
        p.add_argument("--mem", type=int, help="MiB of memory")
        p.add_argument("--mtu", type=int, default=1500)
        p.add_argument("--append", default="", help="kernel parameters")
        p.add_argument("--timeout", type=float, default=timeout,
                       help="seconds (default %(default)g)")

    p = command("run", "run a shell script of the host in one fresh guest")
    guest_options(p, 600)
    p.add_argument("script")
    p.add_argument("args", nargs=argparse.REMAINDER)
    p = command("shell", "a shell in a fresh guest, with the built module")
    guest_options(p, 8 * 3600)
    p.add_argument("--pair", action="store_true",
                   help="boot target and initiator on one wire (always with "
                   "TRANSPORT=ib)")
    p.add_argument("--on", choices=("target", "initiator"), default="target",
                   help="where the shell runs (with --pair)")
    p = command("pair-demo", "two guests: ping, RDMA, and the stock SRP "
                "target and initiator")
    p.add_argument("--mtu", type=int, default=1500)
    p = command("check-console", "check saved consoles")
    p.add_argument("files", nargs="+")
    command("selftest", "show that the lab notices failures")
    p = command("clean", "remove saved consoles and what is outdated in the "
                "cache")
    p.add_argument("--all", action="store_true",
                   help="remove the current root file system, too")
    # Options of another program are not the lab's.
    if sys.argv[1:2] in (["pytest"], ["tests-python"]):
        return argparse.Namespace(command=sys.argv[1], arguments=sys.argv[2:])
    return top.parse_args()


def cmd_exec(args):
    cmd = args.cmd[1:] if args.cmd[:1] == ["--"] else args.cmd
    if not cmd:
        raise env.LabError("exec: which command?")
    environ = {}
    for word in args.environ:
        name, sep, value = word.partition("=")
        if not sep:
            raise env.LabError("exec: -e wants NAME=VALUE, not '%s'" % word)
        environ[name] = value
    cwd = str(Path(args.cwd).resolve()) if args.cwd else None
    enter.replace_process(chosen.build_fs(), cmd, cwd=cwd, environ=environ, binds=args.binds)


def cmd_pytest(arguments):
    """What takes long is made here, where its progress is seen."""
    if os.geteuid() == 0 and not ASKS & set(arguments):
        chosen.chosen_kernel()
        chosen.chosen_kernel("PEER_KERNEL")
    python.become(["-m", "pytest", *arguments])


def load_modules(guest, args):
    for name in args.stock:
        guest.load_stock(name)
    for path in args.module:
        guest.install_module(path)


def guest_arguments(args):
    out = {"mem": args.mem, "mtu": args.mtu, "append": args.append,
           "limit": args.timeout + 180}
    if args.smp:
        out["smp"] = args.smp
    return out


def verdict(guests, rc):
    """The run's exit status, and a word about the consoles."""
    for guest in guests:
        try:
            guest.check_console()
        except console.ConsoleError as error:
            env.note(str(error))
            rc = rc or EXIT_CONSOLE
        else:
            env.note("console of %s is clean (%s)"
                     % (guest.name, guest.console.path))
    return rc


def cmd_run(args):
    script = Path(args.script)
    if not script.is_file():
        raise env.LabError("no script '%s'" % script)
    guest = Guest("run", run_dir=env.new_run_dir("run-" + script.stem),
                  **guest_arguments(args))
    rc = None
    try:
        guest.start()
        env.note("guest ready in %.1f s" % guest.boot_seconds)
        load_modules(guest, args)
        inside = "/run/lab/" + script.name
        guest.put(inside, script, 0o755)
        text = script.read_bytes()[:2]
        cmd = [inside] if text == b"#!" else ["/bin/bash", inside]

        def show(data):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

        job = guest.spawn(cmd + args.args, timeout=args.timeout,
                          on_output=show, cwd="/repo")
        try:
            rc = job.wait(check=False).rc
            env.note("script ended with status %d%s" % (
                rc, " (timeout)" if job.timed_out else ""))
        except console.ConsoleError:
            rc = None
        guest.poweroff(5)
    finally:
        guest.kill()
    if rc is None:
        env.note("script ended early: the kernel complained")
        rc = 0
    return verdict([guest], rc)


def built_modules(args):
    """What `lab shell` loads when nothing is named."""
    if args.module or args.stock:
        return
    names = [os.environ.get("IB_SRPT_MODULE")]
    names += [str(env.REPO / d / "ib_srpt.ko") for d in
              (".", "build", "src", "build/module")]
    for name in names:
        if name and os.path.isfile(name):
            args.module = [name]
            return
    env.note("no built module found; the shell starts without it "
             "(see --module)")


def cmd_shell(args):
    if not sys.stdin.isatty():
        raise env.LabError("shell: standard input is not a terminal; use "
                           "`lab run` for scripts")
    built_modules(args)
    options = dict(guest_arguments(args), fail_fast=False)
    run_dir = env.new_run_dir("shell")
    # Without another port at the end of its cable, one of InfiniBand is down.
    if args.pair or env.transport() == "ib":
        machine = Pair(run_dir=run_dir, **options)
        guests, where = machine.guests, getattr(machine, args.on)
        loads = machine.target
    else:
        machine = where = loads = Guest("shell", run_dir=run_dir, **options)
        guests = [machine]
    try:
        with env.Step("booting"):
            machine.start()
        for guest in guests:
            guest.system_bus()
        load_modules(loads, args)
        env.note("checkout: /repo (read-only); files to keep: /results "
                 "(%s on the host); leave with `exit`" % where.share)
        rc = interact(where)
    finally:
        machine.kill()
    return verdict(guests, rc)


def interact(guest):
    """Join this terminal with a shell in the guest."""
    def show(data):
        os.write(1, data)

    size = shutil.get_terminal_size()
    job = guest.spawn(["/bin/bash", "-il"], tty=True, on_output=show,
                      cwd="/root", env={"TERM": os.environ.get("TERM", "vt100"),
                                        "PS1": guest.name + r":\w\$ "})

    def resize(*_):
        now = shutil.get_terminal_size()
        threading.Thread(target=job.resize, daemon=True,
                         args=(now.lines, now.columns)).start()

    job.resize(size.lines, size.columns)
    saved = termios.tcgetattr(0)
    signal.signal(signal.SIGWINCH, resize)
    try:
        tty.setraw(0, termios.TCSADRAIN)
        while job.poll() is None:
            if select.select([0], [], [], 0.1)[0]:
                data = os.read(0, agent.CHUNK)
                if not data:
                    break
                job.write(data)
    finally:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
    return job.poll() or 0


def cmd_clean(args):
    env.require_root()
    cache = env.cache_dir()
    trees = [env.out_dir()]
    keep = None if args.all else root.folder().name
    trees += [p for p in cache.glob("root-*") if p.name != keep]
    trees += [p for p in cache.glob("arm64-*")
              if args.all or p.name != arm64.folder().name]
    trees += [p for p in cache.glob("python-*")
              if args.all or p.name != python.folder().name]
    current = ("none",)
    if keep and root.existing():
        there = root.existing()
        kernels = [there.kernel()] + [k.kernel() for k in [sanitized.existing()] if k]
        foreign = arm64.existing()
        if foreign:
            kernels += [foreign.kernel(flavour) for flavour in arm64.FLAVOURS]
        current = (sanitized.folder(there).name,
                   *(driver.folder(there, k).name
                     for k in kernels for driver in hcas.DRIVERS))
    trees += [p for kind in ("kernel-sanitized-*", "siw-*", "softib-*")
              for p in cache.glob(kind) if not p.name.startswith(current)]
    trees += [cache / "initramfs", cache / "vmlinux"]
    if args.all:
        trees += [cache / "log", cache / "cargo"]
        trees += cache.glob("install-*")
    for tree in trees:
        if tree.exists():
            with env.Step("removing %s" % tree):
                env.remove_tree(tree)
    return 0


def dispatch(args):
    if args.command == "root":
        print(root.get().fs)
    elif args.command == "kernel":
        if args.series:
            print(root.get().series)
        else:
            found = chosen.chosen_kernel()
            print(found.kdir if args.kdir else found.release)
    elif args.command == "exec":
        return cmd_exec(args)
    elif args.command == "pytest":
        return cmd_pytest(args.arguments)
    elif args.command == "tests-python":
        python.become(args.arguments)
    elif args.command == "run":
        return cmd_run(args)
    elif args.command == "shell":
        return cmd_shell(args)
    elif args.command == "pair-demo":
        return demo.main(args.mtu)
    elif args.command == "check-console":
        for name in args.files:
            console.check_file(name)
    elif args.command == "selftest":
        from . import selftest
        return selftest.main()
    elif args.command == "clean":
        return cmd_clean(args)
    return 0


def interrupted(number, frame):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    try:
        return dispatch(arguments())
    except console.ConsoleError as error:
        env.note(str(error))
        return EXIT_CONSOLE
    except GuestDied as error:
        env.note(str(error))
        return EXIT_DIED
    except env.LabError as error:
        env.note(str(error))
        return getattr(error, "rc", None) or 1
    except KeyboardInterrupt:
        env.note("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
