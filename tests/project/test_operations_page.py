"""What docs/operations.md says to other programs is what they can read, and names what is there."""

import configparser
import re

import pytest
import yaml

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.once
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_unit_of_systemd():
    (unit,) = blocks("ini")
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(unit)
    assert parser["Service"]["ExecStart"].endswith("service.py %i")
    assert int(parser["Service"]["TimeoutStopSec"]) > 10  # a close may take ten seconds
    assert parser["Unit"]["RequiresMountsFor"] == "/var/lib/flags"


def test_the_members_of_compose_keep_what_they_have():
    compose, _ = blocks("yaml")
    services = yaml.safe_load(compose)["services"]
    assert len(services) == 3
    for number, (name, service) in enumerate(services.items(), 1):
        assert service["command"] == ["python", "service.py", str(number)]
        assert service["volumes"] == [f"{name}:/var/lib/flags"]


def test_the_members_of_kubernetes_start_together_and_keep_what_they_have():
    _, kubernetes = blocks("yaml")
    service, members, budget = yaml.safe_load_all(kubernetes)
    assert [each["kind"] for each in (service, members, budget)] == ["Service", "StatefulSet", "PodDisruptionBudget"]
    assert members["spec"]["podManagementPolicy"] == "Parallel" and service["spec"]["publishNotReadyAddresses"]
    (container,) = members["spec"]["template"]["spec"]["containers"]
    (volume,) = members["spec"]["volumeClaimTemplates"]
    assert container["volumeMounts"][0]["name"] == volume["metadata"]["name"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert budget["spec"]["maxUnavailable"] == 1
