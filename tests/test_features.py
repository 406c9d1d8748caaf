from __future__ import annotations

import pytest

from streamlab.errors import PermissionRefusedError, UnsupportedError
from streamlab.features import FEATURES, probe, require_streams
from streamlab.servers import ExternalServer, ProcessServer, Server
from streamlab.servers.reach import connect

TO_7_0 = {"streams", "autoclaim", "deleted_ids", "lag"}
TO_7_2 = TO_7_0 | {"waitaof"}
TO_8_2 = TO_7_2 | {"ackdel", "acked_trim"}
TO_8_6 = TO_8_2 | {"claim", "idmp"}
EXPECTED = {"redis 7.0": TO_7_0, "valkey 9.1": TO_7_2, "redis 8.2": TO_8_2, "redis 8.6": TO_8_6}


def test_each_server_has_what_its_documentation_says(server: Server) -> None:
    known = f"{server.flavour} {'.'.join(server.version.split('.')[:2])}"
    if known not in EXPECTED:
        pytest.skip(f"nobody wrote down what {known} has")
    assert server.features == EXPECTED[known]
    assert server.features <= FEATURES.keys()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [True, False])
def test_any_client_will_do_and_nothing_is_left(server: Server, keys: str, protocol: int, decode: bool) -> None:
    with server.client(protocol=protocol, decode_responses=decode) as client:
        before = client.dbsize()
        assert probe(client, keys + "probe") == server.features
        assert client.dbsize() == before


def test_a_server_without_autoclaim_is_too_old() -> None:
    with ProcessServer(settings={"rename-command XAUTOCLAIM": ""}) as old:
        assert "autoclaim" not in old.features
        with pytest.raises(
            UnsupportedError, match=r"needs Redis 6\.2 or newer or any Valkey.* lacks XAUTOCLAIM: upgrade"
        ):
            ExternalServer(old.url)


def test_a_server_without_streams_is_too_old() -> None:
    with pytest.raises(UnsupportedError, match="lacks streams"):
        require_streams({"autoclaim"})
    require_streams({"streams", "autoclaim"})


def test_missing_rights_are_not_taken_for_an_old_server(any_server: Server) -> None:
    password = f"+{any_server.url.split(':')[2].split('@')[0]}"
    with any_server.client() as client:
        client.acl_setuser("probe-none", enabled=True, passwords=[password], keys=["*"], commands=["+ping"])
        client.acl_setuser(
            "probe-few", enabled=True, passwords=[password], keys=["*"], commands=["+@all", "-xackdel", "-xadd"]
        )
        try:
            with (
                connect(any_server.url.replace("//:", "//probe-none:")) as refused,
                pytest.raises(PermissionRefusedError, match=r"may not run XLEN .*ACL SETUSER"),
            ):
                probe(refused, any_server.prefix + "p")
            with connect(any_server.url.replace("//:", "//probe-few:")) as limited:
                features = probe(limited, any_server.prefix + "p")
            assert {"streams", "autoclaim"} <= features
            assert not features & {"ackdel", "acked_trim", "idmp"}  # what the user may not do is not there
        finally:
            client.acl_deluser("probe-none", "probe-few")
