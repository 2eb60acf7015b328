"""Endpoints, secrets, errors, the order of endpoints, the file of a refresh token."""

import copy
import datetime
import json
import os
import pathlib
import pickle
import stat

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

import jeton
from jeton import errors
from jeton._calls import Attempt, Order, Pause, attempts
from jeton._config import Policy, policy
from jeton._endpoint import endpoint
from jeton._keep import RefreshTokenFile
from jeton._methods import METHODS
from jeton._status import from_status
from jeton.v1 import error_reason_pb2

KEY = "jtk_66dDErZniLvCblx6GnRS40_" + "a" * 43


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://jeton.example", "https://jeton.example:443"),
        ("http://127.0.0.1:7070/", "http://127.0.0.1:7070"),
        ("https://[::1]:7070", "https://[::1]:7070"),
    ],
)
def test_an_endpoint_is_a_scheme_a_host_and_a_port(text: str, expected: str) -> None:
    assert str(endpoint(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jeton",
        "ftp://h",
        "http://",
        "http://u:hidden@h",
        "http://h/p",
        "http://h:0",
        "http://h:70700",
        "http://[x]",
    ],
)
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(errors.EndpointInvalid) as refused:
        endpoint(text)
    assert "hidden" not in str(refused.value)


def test_a_key_does_not_go_over_plaintext() -> None:
    with pytest.raises(errors.EndpointInvalid):
        jeton.Client("http://jeton.example:7070", api_key=KEY)
    jeton.Client("http://jeton.example:7070", api_key=KEY, allow_plaintext=True).close()
    jeton.Client("http://localhost:7070", api_key=KEY).close()


def test_a_secret_does_not_print() -> None:
    held = jeton.Secret("hidden")
    texts = [str(held), repr(held), f"{held}", "%s" % held, repr([held]), repr({"a": held})]  # noqa: UP031
    assert not any("hidden" in text for text in texts)
    assert copy.deepcopy(held).reveal() == "hidden"
    with pytest.raises(TypeError):
        pickle.dumps(held)
    with pytest.raises(TypeError):
        json.dumps(held)


def test_every_reason_has_a_class() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert set(errors.REASONS) == names - {"UNSPECIFIED"}


def test_a_refusal_is_typed_and_metadata_of_another_form_are_unset() -> None:
    status = status_pb2.Status()
    info = error_details_pb2.ErrorInfo(domain="jeton.v1", reason="TTL_EXCEEDS_MAXIMUM")
    info.metadata.update({"maxTtlSeconds": "3600", "requestedTtlSeconds": "soon"})
    packed = any_pb2.Any()
    packed.Pack(info)
    status.details.append(packed)
    trailing = [("grpc-status-details-bin", status.SerializeToString())]
    error = from_status(grpc.StatusCode.INVALID_ARGUMENT, "no", trailing, "here")
    assert isinstance(error, errors.TtlExceedsMaximum)
    assert error.max_ttl == datetime.timedelta(hours=1)
    assert error.requested_ttl is None
    assert isinstance(pickle.loads(pickle.dumps(error)), errors.TtlExceedsMaximum)


def test_details_that_are_no_details_do_not_hide_the_status() -> None:
    error = from_status(grpc.StatusCode.DATA_LOSS, "", [("grpc-status-details-bin", b"\xff\xff")], "here")
    assert isinstance(error, errors.UnexpectedError)
    assert error.code is grpc.StatusCode.DATA_LOSS


def test_every_unary_method_has_a_deadline_and_changes_are_not_repeated() -> None:
    for method in METHODS.values():
        if method.name not in ("StreamValidate", "BulkRevoke"):
            assert method.policy.timeout > 0, method
    repeated = {name for name, method in METHODS.items() if method.policy.repeats}
    assert {"Validate", "Issue", "Refresh", "Revoke", "ListClients"} <= repeated
    assert not repeated & {"UpdatePolicy", "CreateClient", "CreateApiKey", "RotateKey", "DeleteClient", "BulkRevoke"}
    assert policy("jeton.v1.TokenService", "Validate").timeout == 2


def away() -> errors.JetonError:
    return errors.Unreachable("away", code=grpc.StatusCode.UNAVAILABLE)


def test_each_endpoint_of_a_round_gets_its_share_of_the_deadline() -> None:
    order, now = Order(3), [0.0]
    plan = attempts(order, Policy(9, True, 2, 0, 1, 0), 9.0, lambda: now[0])
    assert next(plan) == Attempt(0, 3)
    now[0] = 3
    assert plan.send(away()) == Attempt(1, 3)
    now[0] = 4
    assert plan.send(away()) == Attempt(2, 5)
    assert isinstance(plan.send(away()), Pause)
    assert plan.send(None) == Attempt(0, 5 / 3)
    with pytest.raises(StopIteration):
        plan.send(None)


def test_the_endpoint_that_answers_stays_current_also_when_it_refuses() -> None:
    order = Order(2)
    plan = attempts(order, Policy(9, True, 2), 9.0, lambda: 0.0)
    next(plan)
    plan.send(away())
    with pytest.raises(errors.NotFound):
        plan.send(errors.NotFound("no", code=grpc.StatusCode.NOT_FOUND))
    assert order.round() == [1, 0]


def test_a_pause_that_outlasts_the_deadline_is_not_made() -> None:
    plan = attempts(Order(1), Policy(9, True, 4, 0.1, 2, 1), 2.0, lambda: 0.0)
    next(plan)
    busy = errors.StoreUnavailable("no", code=grpc.StatusCode.UNAVAILABLE, retry_after=datetime.timedelta(seconds=5))
    with pytest.raises(errors.StoreUnavailable):
        plan.send(busy)


def test_a_refresh_token_is_kept_whole_and_private(tmp_path: pathlib.Path) -> None:
    kept = RefreshTokenFile(tmp_path / "session")
    assert kept.read() is None
    for text in ("one", "two"):
        kept.write(jeton.Secret(text))
        assert stat.S_IMODE(os.stat(kept.path).st_mode) == 0o600
        assert kept.read() == jeton.Secret(text)
    assert os.listdir(tmp_path) == ["session"]
    os.chmod(kept.path, 0o644)
    with pytest.raises(errors.CredentialInvalid):
        kept.read()
    kept.remove()
    assert os.listdir(tmp_path) == []


def test_a_text_that_is_no_key_is_refused_and_not_repeated(tmp_path: pathlib.Path) -> None:
    (tmp_path / "key").write_text("hidden")
    with pytest.raises(errors.CredentialInvalid) as refused:
        jeton.Client("http://127.0.0.1:1", api_key="hidden")
    assert "hidden" not in str(refused.value)
    with pytest.raises(errors.CredentialInvalid) as refused:
        jeton.Client("http://127.0.0.1:1", api_key_file=str(tmp_path / "key"))
    assert "hidden" not in str(refused.value)
    with pytest.raises(errors.CredentialInvalid):
        jeton.Client("http://127.0.0.1:1", api_key_file=str(tmp_path / "none"))
