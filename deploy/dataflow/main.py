"""What the launcher of the flex template starts: ``prestacop run`` with the template's parameters as flags."""

import sys

from prestacop.main import main

sys.exit(main(["run", *sys.argv[1:]]))
