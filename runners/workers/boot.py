"""Starts one Python worker: gets the options from the job, then runs Beam's harness.

Like the ``boot`` program of Beam's container, but without a container: the worker uses this project's environment.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from socket import socket

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from google.protobuf import json_format, text_format

PROVISION_SECONDS = 60
WATCH_SECONDS = 2
MISSES = 3
"""The worker ends when the runner's port is closed so many times in a row: the runner was killed."""


def main(argv: Sequence[str]) -> None:
    """Run a worker, with the arguments of Beam's container contract, until its runner ends it."""
    parser = argparse.ArgumentParser()
    for name in ("id", "logging_endpoint", "artifact_endpoint", "provision_endpoint", "control_endpoint"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args(argv)
    info = _provision(arguments.provision_endpoint, arguments.id)
    control = info.control_endpoint.url or arguments.control_endpoint
    os.environ |= {
        "WORKER_ID": arguments.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "LOGGING_API_SERVICE_DESCRIPTOR": _descriptor(info.logging_endpoint.url or arguments.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(control),
    }
    threading.Thread(target=_end_with, args=(control,), daemon=True).start()
    sdk_worker_main.main(sys.argv[:1])


def _provision(endpoint: str, worker: str) -> beam_provision_api_pb2.ProvisionInfo:
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(
            grpc.intercept_channel(channel, WorkerIdInterceptor(worker))
        )
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        return service.GetProvisionInfo(request, timeout=PROVISION_SECONDS, wait_for_ready=True).info


def _descriptor(url: str) -> str:
    return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url)))


def _end_with(control: str) -> None:
    """Exit when the runner has ended; Beam's harness would retry for ever, with a full core."""
    host, _, port = control.rpartition(":")
    misses = 0
    while misses < MISSES:
        time.sleep(WATCH_SECONDS)
        with closing(socket()) as probe:
            probe.settimeout(WATCH_SECONDS)
            misses = misses + 1 if probe.connect_ex((host, int(port))) else 0
    os._exit(1)
