"""``make live``."""

import sys

if __name__ == "__main__":
    try:
        from runners.live.command import main
    except KeyboardInterrupt:  # what it needs takes a second to load
        sys.exit(130)
    main()
