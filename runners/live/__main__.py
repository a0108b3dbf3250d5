"""``make live``."""

from runners.live.command import main

if __name__ == "__main__":
    main()
