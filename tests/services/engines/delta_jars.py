"""``python delta_jars.py FOLDER``: the jars that let Spark 3.5 read Delta tables, by Maven, with their checksums."""

import hashlib
import subprocess
import sys
from pathlib import Path

VERSION = "3.3.2"
JARS = {
    "delta-spark_2.12": "4e92085d5d794cf949c50bb665b91384857cad58680c2d0bfc9c7ad353e98e85",
    "delta-storage": "c096975a2ca97ccc9b4005aa5cce16c9ac3903139d340da6665b66ace67d7c36",
}
"""By artifact of io.delta, the SHA-256 of its jar."""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def main(folder: Path) -> None:
    """Put the jars into the folder. Raises ValueError where one has another checksum."""
    for name, expected in JARS.items():
        artifact = f"-Dartifact=io.delta:{name}:{VERSION}"
        subprocess.run(["mvn", "-q", "-B", _COPY, artifact, f"-DoutputDirectory={folder}"], check=True)
        found = hashlib.sha256((folder / f"{name}-{VERSION}.jar").read_bytes()).hexdigest()
        if found != expected:
            raise ValueError(f"{name}-{VERSION}.jar has the checksum {found}, not {expected}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
