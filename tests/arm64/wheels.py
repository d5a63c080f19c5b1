"""Install what ``requirements/test.lock`` pins for Python 3.13 on aarch64 into a folder, from any machine.

``python -m tests.arm64.wheels FOLDER`` makes FOLDER/wheels. pip evaluates markers for the Python that it runs
in, so the lock's are evaluated here, for the other one. The hashes are the lock's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from packaging.markers import Marker

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "test.lock"
PYTHON = "3.13"
# Of Debian 13's glibc, 2.41, and older; aarch64 wheels begin with 2.17 (PEP 599 and 600).
PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 42)))
ENVIRONMENT = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{PYTHON}.5",
    "python_version": PYTHON,
    "sys_platform": "linux",
}


def requirements(lock: str) -> str:
    """The entries of a lock whose markers hold on the board, without their markers."""
    kept = []
    for entry in lock.replace(" \\\n", " ").splitlines():
        pinned, *hashes = entry.split(" --hash=")
        name, _, marker = pinned.partition(" ; ")
        if not marker or Marker(marker).evaluate(ENVIRONMENT):
            kept.append(" \\\n    --hash=".join([name.strip(), *(one.strip() for one in hashes)]))
    return "\n".join(kept) + "\n"


def install(folder: Path) -> int:
    """Returns pip's exit code."""
    wanted = requirements(LOCK.read_text())
    installed, file = folder / "wheels", folder / "requirements.txt"
    if installed.is_dir() and file.is_file() and file.read_text() == wanted:
        return 0
    print(f"installing {wanted.count('==')} packages for aarch64 into {installed} (400 MB)", flush=True)
    shutil.rmtree(installed, ignore_errors=True)
    partial = folder / "wheels.partial"
    shutil.rmtree(partial, ignore_errors=True)
    file.write_text(wanted)
    command = [
        *(sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"),
        *("--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"),
        # pip 23 asks whether the Python that it runs in will do.
        "--ignore-requires-python",
        *(f"--platform={platform}" for platform in PLATFORMS),
        *(f"--python-version={PYTHON}", "--implementation=cp", "--abi=cp313", "--abi=abi3", "--abi=none"),
        *("--target", str(partial), "-r", str(file)),
    ]
    code = subprocess.run(command, check=False).returncode
    if code:
        print(
            f"make test-arm64: pip could not install {file} for aarch64; its reason is above", file=sys.stderr
        )
        return code
    partial.rename(installed)
    return 0


if __name__ == "__main__":
    sys.exit(install(Path(sys.argv[1])))
