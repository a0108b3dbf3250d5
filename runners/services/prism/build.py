"""``python build.py FOLDER``: Beam's own Prism of the version that Beam has here, with one line changed.

Whoever reaches Prism's job port runs code as its user. Prism takes that port on all addresses and has no flag for it;
here it takes it on 127.0.0.1. It is a script of its own because it is run where no package of this project is imported.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

MODULE = "github.com/apache/beam/sdks/v2@v2.77.0"
FILE = "go/pkg/beam/runners/prism/internal/jobservices/server.go"
THEIRS = 'net.Listen("tcp", fmt.Sprintf(":%d", port))'
OURS = 'net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))'


def listening_here(source: str) -> str:
    """The file's text with the changed line. Raises ValueError where the line is not there exactly once."""
    if source.count(THEIRS) != 1:
        raise ValueError(f"{FILE} of {MODULE} has no single line with {THEIRS}: change {__file__} for this version")
    return source.replace(THEIRS, OURS)


def main(folder: Path) -> None:
    """Put the binary into the folder."""
    found = subprocess.run(["go", "mod", "download", "-json", MODULE], stdout=subprocess.PIPE, check=True)
    module = Path(json.loads(found.stdout)["Dir"])
    copy = folder / "source"  # Go replaces nothing within its own cache
    shutil.copytree(module / "go", copy / "go", copy_function=shutil.copyfile)
    for path in (copy, *copy.rglob("*/")):
        path.chmod(0o755)  # the cache's folders are read-only
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(module / name, copy / name)
    changed = copy / FILE
    changed.write_text(listening_here(changed.read_text()))
    build = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(folder / "prism"), "./go/cmd/prism"]
    subprocess.run(build, cwd=copy, check=True)
    shutil.rmtree(copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
