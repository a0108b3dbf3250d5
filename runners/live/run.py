"""A live run from its start to its end."""

import os
import shlex

from lake.format import check
from pipelines.cli.commit_progress import Committed, kept_up_to_date
from runners.live.maintenance import Maintenance
from runners.live.metrics import Metrics
from runners.live.parts import LiveOptions, Parts, compaction, create_topics, server_part
from runners.live.shutdown import locked_folder, running_servers, stopping
from runners.live.summary import next_steps, summary
from runners.live.supervisor import Supervisor
from runners.live.watch import Watch
from runners.services import HOME, Services
from runners.services.services import DATA, PORTS
from schemas.simulator import published_count

_OTHER_S3 = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3")
"""Variables that would lead to another S3 than the server here."""


def live(options: LiveOptions) -> int:
    """Start everything, watch it, stop everything; gives the exit code.

    Raises:
        PrestaCopError: a server cannot be installed or started, or a part ended by itself again and again.
        OutputUnusable: another run uses the same folder, or there cannot be a lake there.
        KeyboardInterrupt: by Ctrl-C before the fleet flies, or by the second one.
    """
    services = Services(options.home, options.data, options.ports)
    names = [options.stream, *(["s3"] if options.lake.startswith("s3://") else [])]
    folder = options.data.resolve() / "live"
    with locked_folder(folder):
        prism = services.prism()
        with running_servers(services, names) as started:
            os.environ.update(services.environment(*names))
            for name in _OTHER_S3 if "s3" in names else ():
                os.environ.pop(name, None)
            check(options.lake)
            parts = Parts(options, create_topics(options.stream), folder, prism)
            committed = Committed(options.lake)
            maintenance = Maintenance(compaction(options.lake), folder / "compaction.log")
            metrics = Metrics(parts.progress_file, parts.panes, committed, options.stream)

            def warnings() -> list[str]:
                return [f"the last compaction failed, see {folder}/compaction.log"] if maintenance.failed else []

            def start_server(name: str) -> None:
                services.up(name)
                if name == options.stream:
                    create_topics(name)  # the Pub/Sub server keeps none

            servers = [server_part(services, name, start_server) for name in names]
            supervisor = Supervisor([*servers, *parts.supervised(lambda: committed.units)])
            title = f"{options.drones:,} drones → {options.stream} → {options.lake}"
            watch = Watch(title, parts.simulator, parts.graph, metrics, supervisor, warnings)
            with (
                stopping(maintenance.stop, maintenance.kill),
                stopping(parts.exporter.stop, parts.exporter.kill),
                stopping(parts.console.stop, parts.console.kill),
            ):
                print(parts.start_pages(), flush=True)
                maintenance.start()
                with stopping(watch.stop, watch.kill), kept_up_to_date(committed):
                    code = watch.run(options.seconds)
    print("", *summary(published_count(parts.simulator.output()), metrics), "", sep="\n")
    print(*next_steps(options.lake, _service_flags(options), options.stream, started, watch.is_drained), sep="\n")
    return code


def _service_flags(options: LiveOptions) -> str:
    """The flags with which ``prestacop services`` finds the lake's server."""
    places = [
        ("--home", options.home, HOME),
        ("--data", options.data, DATA),
        ("--s3-port", options.ports["s3"], PORTS["s3"]),
    ]
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value, usual in places if value != usual)
