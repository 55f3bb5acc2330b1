"""Other architectures, by qemu-user: MIPS, where signals and errors have other numbers.

The tool is tests/tools/architectures.py; it fetches a root for each, some 20 seconds' worth,
and its checks take half a minute an architecture. So: only with PYINIT_FULL, and here only
MIPS; for the others run the tool by hand.
"""

import os
import subprocess
import sys

import pytest
from support import FULL, PYINIT_FILE, ROOT, need, run, tool

TOOL = ROOT / "tests" / "tools" / "architectures.py"


@pytest.mark.skipif(not FULL, reason="it takes minutes: only with PYINIT_FULL")
@pytest.mark.parametrize("arch", ["mips64el"])
def test_on_another_architecture(arch):
    if os.getuid():
        pytest.skip("only root can make its root")
    tool("debootstrap")
    tool("qemu-mips64el-static")
    mount = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc"
    space = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    need(*space, "--mount-proc", "sh", "-c", mount)  # from Linux 6.7 on
    words = [sys.executable, TOOL, "--pyinit", PYINIT_FILE, arch]
    result = run(*words, stderr=subprocess.STDOUT, timeout=600)
    assert result.returncode == 0, result.stdout.decode()
