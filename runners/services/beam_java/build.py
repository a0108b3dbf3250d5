"""``python build.py FOLDER -DPROPERTY=VALUE...``: the job server of the pom.xml here, with one call of Beam's changed.

Whoever reaches one of Beam's gRPC servers runs code as its user. In Java a single method opens them all, in the job
server and in the cluster's processes that get the jar with a job. It takes the port of its address alone, and so
listens on all addresses::

    NettyServerBuilder.forPort(socket.getPort())     // Beam's
    NettyServerBuilder.forAddress(socket)            // here

The bytes of the class are changed, so that Maven and a Java runtime are enough and no compiler is needed. It is a
script of its own because it is run where no package of this project is imported.
"""

import hashlib
import subprocess
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

CLASS = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"
THEIRS = "93b5a86013416deb22c25aef442c20d57cc5aec9ae73d000ddb667601ef45f2c"
"""SHA-256 of Beam 2.70.0's class."""


def _utf8(text: str) -> bytes:
    """A text among the constants of a class file."""
    return b"\x01" + len(text).to_bytes(2, "big") + text.encode()


_BUILDER = "Lorg/apache/beam/vendor/grpc/v1p69p0/io/grpc/netty/NettyServerBuilder;"
_LAST = _utf8("BootstrapMethods")
"""The last of the 259 constants."""
CHANGES = (
    (b"\xca\xfe\xba\xbe\x00\x00\x00\x34\x01\x04", b"\xca\xfe\xba\xbe\x00\x00\x00\x34\x01\x05"),
    (_LAST, _LAST + _utf8(f"(Ljava/net/SocketAddress;){_BUILDER}")),  # constant 260
    (_utf8("forPort"), _utf8("forAddress")),
    (b"\x0c\x00\xa3\x00\xa4", b"\x0c\x00\xa3\x01\x04"),  # its name and its type: constants 163 and 164, now 260
    # invokevirtual getPort, invokestatic forPort: the first becomes three times nop, so that the address stays.
    (b"\xb6\x00\xa0\xb8\x00\xa6", b"\x00\x00\x00\xb8\x00\xa6"),
)


def listening_here(code: bytes) -> bytes:
    """The class with the changed call. Raises ValueError where it is not the class that this was written for."""
    if hashlib.sha256(code).hexdigest() != THEIRS:
        raise ValueError(f"{CLASS} is not that of Beam 2.70.0: change {__file__} for this version")
    for theirs, ours in CHANGES:
        if code.count(theirs) != 1:
            raise ValueError(f"{CLASS} has {theirs!r} {code.count(theirs)} times, not once: change {__file__}")
        code = code.replace(theirs, ours)
    return code


def main(folder: Path, properties: list[str]) -> None:
    """Put the jar into the folder."""
    command = ["mvn", "-q", "-B", "-f", "pom.xml", "package", f"-DbuildDirectory={folder}", *properties]
    subprocess.run(command, check=True)
    jar, theirs = folder / "job-server.jar", folder / "theirs.jar"
    jar.rename(theirs)
    with ZipFile(theirs) as old, ZipFile(jar, "w", ZIP_DEFLATED) as new:
        changed = {CLASS: listening_here(old.read(CLASS))}
        for entry in old.infolist():
            new.writestr(entry, changed.get(entry.filename) or old.read(entry))
    theirs.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
