# SPDX-License-Identifier: GPL-2.0
#
# The Python of the tests: a virtual environment in the cache with the packages
# of tests/requirements.txt, made when it is not there.
#
# Not here: the tests (tests/, pytest.ini); the lab itself needs Python's
# standard library only.

import hashlib
import os
import subprocess
import sys

from . import env

REQUIREMENTS = env.REPO / "tests/requirements.txt"
OLDEST = (3, 11)


def folder():
    """Where it is: the key is a hash of what it is made from."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes())
    digest.update((sys.executable + sys.version).encode())
    return env.cache_dir() / ("python-" + digest.hexdigest()[:12])


def get():
    """The program; its environment is made first when it is not there."""
    program = folder() / "bin/python"
    if program.exists():
        return program
    if sys.version_info < OLDEST:
        raise env.LabError("the tests need Python %d.%d or newer, this is %s"
                           % (*OLDEST, sys.version.split()[0]))
    log = env.cache_dir() / "log/python.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except PermissionError:
        raise env.LabError("no pytest in %s, which only root can write to; "
                           "IB_SRPT_CACHE=<folder> names another cache"
                           % env.cache_dir()) from None
    with env.locked("python"):
        if program.exists():
            return program
        if subprocess.call([sys.executable, "-c", "import ensurepip, venv"],
                           stderr=subprocess.DEVNULL):
            env.host_packages("Python's venv", "python3-venv")
        temporary = folder().with_name(folder().name + ".tmp")
        env.remove_tree(temporary)
        env.run_logged([sys.executable, "-m", "venv", temporary], log)
        env.run_logged(
            [temporary / "bin/python", "-m", "pip", "install", "--no-cache-dir",
             "--disable-pip-version-check", "--no-deps", "--require-hashes",
             "-r", REQUIREMENTS], log, "installing pytest in the cache")
        env.remove_tree(folder())
        os.rename(temporary, folder())
    return program


def become(arguments):
    """Become this Python, with the arguments."""
    program = str(get())
    os.chdir(env.REPO)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv(program, [program, *arguments])
