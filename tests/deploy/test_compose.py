"""The compose file names what is there, and keeps what it promises about secrets and rights."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapelab.api.settings import ApiSettings
from tapelab.common.settings import SERVICES, CommonSettings, load
from tapelab.common.topics import ALL_TOPICS
from tapelab.ingest.settings import IngestSettings

BACKENDS = {"kafka", "timescaledb", "redis", "prometheus"}
SECRETS = ("POSTGRES_PASSWORD", "TAPELAB_API_TOKEN")


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((repository / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> str:
    return (repository / "deploy/docker/Dockerfile").read_text()


def module_of(service: dict[str, Any]) -> str:
    command = service.get("command")
    if command and command[:2] == ["python", "-m"]:
        return str(command[2])
    return f"tapelab.{service['build']['args']['SERVICE']}"


def test_every_service_of_the_product_is_there_and_nothing_else(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == set(SERVICES) | BACKENDS | {"init"}


def test_both_generations_of_compose_can_read_it(compose: dict[str, Any]) -> None:
    assert not {"name", "version"} & set(compose)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_a_module_that_exists(compose: dict[str, Any], name: str) -> None:
    module = module_of(compose["services"][name])
    runnable = module if module == "tapelab.ingest.sink" else f"{module}.__main__"
    assert importlib.util.find_spec(runnable) is not None


def test_a_service_installs_its_own_extra(compose: dict[str, Any], repository: Path) -> None:
    program = repository / "deploy/docker/requirements.py"
    for name in (*SERVICES, "init"):
        build = compose["services"][name]["build"]
        args = build["args"]
        assert (repository / build["dockerfile"]).is_file()
        assert args["SERVICE"] in args["EXTRAS"].split(",")
        python = shutil.which("python3") or "python3"
        done = subprocess.run(
            [python, program, args["EXTRAS"]], cwd=repository, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_a_build_target_is_a_stage_of_the_dockerfile(compose: dict[str, Any], dockerfile: str) -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.MULTILINE))
    assert {s["build"]["target"] for s in compose["services"].values() if "build" in s} <= stages


def test_the_dockerfile_needs_no_buildkit(dockerfile: str) -> None:
    assert not re.search(r"^# *syntax=|<<\s*['\"]?EOF|--link|--mount|--chmod", dockerfile, re.MULTILINE)


def test_what_the_dockerfile_copies_exists_and_is_in_the_context(dockerfile: str, repository: Path) -> None:
    ignored = (repository / ".dockerignore").read_text().splitlines()
    allowed = tuple(line.removeprefix("!") for line in ignored if line.startswith("!"))
    sources = [
        word for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE) for word in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (repository / source).exists(), source
        assert source.startswith(allowed), source


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_have_no_default_and_are_asked_for(repository: Path, secret: str) -> None:
    text = (repository / "docker-compose.yml").read_text()
    uses = re.findall(rf"\$\{{{secret}([^}}]*)\}}", text)
    assert uses
    assert all(use.startswith(":?") for use in uses)
    assert re.search(rf"^{secret}=$", (repository / ".env.example").read_text(), re.MULTILINE)


def test_every_variable_is_explained_in_the_example(repository: Path) -> None:
    text = (repository / "docker-compose.yml").read_text()
    example = (repository / ".env.example").read_text()
    for variable in set(re.findall(r"\$\{(\w+)", text)):
        assert re.search(rf"^#?{variable}=", example, re.MULTILINE), variable


def test_the_filled_in_secrets_stay_out_of_the_repository(repository: Path) -> None:
    assert ".env" in (repository / ".gitignore").read_text().splitlines()


def test_every_container_runs_with_as_few_rights_as_it_can(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "mem_limit" in service, name
        # Kafka and PostgreSQL write configuration of their own into their image's folders.
        assert service.get("read_only") is True or name in ("kafka", "timescaledb"), name


def test_only_gateway_and_prometheus_are_published_and_only_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert set(published) == {"api", "prometheus"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert compose["networks"]["internal"] == {"internal": True}
    outside = {n for n, s in compose["services"].items() if s["networks"] != ["internal"]}
    assert outside == set(published)


def test_only_the_trainer_writes_artifacts(compose: dict[str, Any]) -> None:
    mounts = {
        name: [v for v in s.get("volumes", []) if v.startswith("artifacts:")] for name, s in compose["services"].items()
    }
    writers = [name for name, found in mounts.items() if any(not v.endswith(":ro") for v in found)]
    assert writers == ["trainer"]
    assert mounts["inference"]


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_accept_their_settings(compose: dict[str, Any], dockerfile: str, name: str) -> None:
    image = dict(re.findall(r"(TAPELAB_\w+)=(\S+)", dockerfile))
    environ = {k: str(v) for k, v in compose["services"][name]["environment"].items()}
    # What Compose would put in for variables that are not set.
    environ = {k: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", v) for k, v in environ.items()}
    common = load(CommonSettings, image | environ)
    assert common.broker_kind == "kafka"
    if name == "api":
        api = load(ApiSettings, image | environ, service="api")
        probed = set(api.service_addresses)
        assert probed == set(SERVICES) - {"api"}
        assert all(a == f"http://{n}:{common.http_port}" for n, a in api.service_addresses.items())
    if name == "ingest":
        assert load(IngestSettings, image | environ, service="ingest").speed == "60"


def test_kafka_takes_the_largest_message(compose: dict[str, Any], repository: Path) -> None:
    largest = max(topic.max_message_bytes for topic in ALL_TOPICS)
    environ = compose["services"]["kafka"]["environment"]
    properties = dict(
        line.split("=", 1)
        for line in (repository / "deploy/kafka/server.properties").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    for name in ("message.max.bytes", "replica.fetch.max.bytes"):
        assert int(properties[name]) == largest
        assert int(environ[f"KAFKA_{name.upper().replace('.', '_')}"]) == largest
    for name in ("auto.create.topics.enable", "transaction.state.log.min.isr", "group.initial.rebalance.delay.ms"):
        assert environ[f"KAFKA_{name.upper().replace('.', '_')}"] == properties[name]


def test_the_kafka_template_is_filled_in_whole(repository: Path) -> None:
    text = (repository / "deploy/kafka/server.properties").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == {"PORT", "CONTROLLER_PORT", "LOG_DIR"}
